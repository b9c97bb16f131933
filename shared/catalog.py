"""The catalog: what a function knows of the models in its package, read from one JSON file.

It is compiled at synth from the validated model repository (`shared.repository`), so nothing is
validated again here, and reading it needs neither Pydantic nor numpy.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from shared.errors import ModelNotFoundError, VersionNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output; -1 in `shape` is a dynamic dimension."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FileSpec:
    """One file of a version, relative to the version's folder, as it was locked."""

    path: str
    sha256: str
    size_bytes: int
    key: str = ""
    """Under which S3 has it, for a file that is not in the package."""


@dataclass(frozen=True, slots=True)
class FormSpec:
    """The offline-optimised form that a package ships in place of a version's files."""

    files: tuple[FileSpec, ...]
    """The graph first, then its weights."""
    optimization: str
    """What onnxruntime still optimises when it loads it."""
    onnxruntime: str
    """The version that made it, and the only one that may load it."""


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """How onnxruntime makes the session; `intra_op_threads` None means one per whole vCPU."""

    intra_op_threads: int | None
    inter_op_threads: int
    optimization: str
    memory_arena: bool


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One served version: what the graph takes and gives, and what callers send and get."""

    model: str
    version: str
    folder: str
    """Relative to the package's root, `models/<name>/<version>`."""
    files: tuple[FileSpec, ...]
    """`model.onnx` first."""
    graph_inputs: tuple[TensorSpec, ...]
    graph_outputs: tuple[TensorSpec, ...]
    """Those that a run fetches."""
    inputs: tuple[TensorSpec, ...]
    """Public inputs: the transform's where the model has one, else the graph's."""
    outputs: tuple[TensorSpec, ...]
    row_independent: bool
    stacking_tolerance: float | None
    pad: Mapping[str, float] = field(default_factory=dict)
    """Filler by graph input, where the model declares it and padding was found to hold."""
    form: FormSpec | None = None
    """What the package has in place of `files`; None: the files themselves."""
    digest: str = field(init=False)
    """What audit records name the version's files by: see `version_digest`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", version_digest(self.files))

    @property
    def loaded(self) -> tuple[FileSpec, ...]:
        """The files that are in the package, the graph first."""
        return self.files if self.form is None else self.form.files

    @property
    def fetched(self) -> bool:
        """Whether its files are on S3, and not in the package."""
        return bool(self.files[0].key)

    @property
    def size_bytes(self) -> int:
        """Bytes of the files that are loaded."""
        return sum(file.size_bytes for file in self.loaded)


def version_digest(files: Iterable[FileSpec]) -> str:
    """Hex SHA-256 of the one file; of several, that of the lines which `sha256sum` prints for them."""
    listed = [(file.sha256, file.path) for file in files]
    if len(listed) == 1:
        return listed[0][0]
    lines = "".join(f"{sha256}  {path}\n" for sha256, path in listed)
    return hashlib.sha256(lines.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Model:
    """One model with its served versions, newest declaration first."""

    name: str
    description: str
    pool: str
    latency_classes: tuple[str, ...]
    compute: str
    default_version: str
    target_p99_ms: int
    allow_non_finite: bool
    transform: str | None
    """Path of `transform.py` relative to the package's root, or None."""
    session: SessionSpec
    max_batch_size: int
    max_delay_ms: int
    versions: Mapping[str, ModelVersion]

    def version(self, version: str | None) -> ModelVersion:
        """The version asked for, or the default one."""
        found = self.versions.get(version or self.default_version)
        if found is None:
            served = ", ".join(self.versions)
            raise VersionNotFoundError(
                f"model {self.name!r} has no version {version!r} here; served versions: {served}"
            )
        return found


@dataclass(frozen=True, slots=True)
class Catalog:
    """The models of one package, and the validators made ahead for their requests."""

    models: Mapping[str, Model]
    validators: Mapping[str, Any] = field(default_factory=dict)

    def digests(self) -> dict[tuple[str, str], str]:
        """The digest of each served version, by model and version."""
        versions = (
            version for model in self.models.values() for version in model.versions.values()
        )
        return {(version.model, version.version): version.digest for version in versions}

    def model(self, name: str) -> Model:
        """The model of this name."""
        found = self.models.get(name)
        if found is None:
            raise ModelNotFoundError(
                f"no model {name!r} is served here; GET /v2/models lists the models"
            )
        return found

    def find(self, name: str, version: str | None = None) -> tuple[Model, ModelVersion]:
        """The model of this name and its version, the default one when none is asked for."""
        model = self.model(name)
        return model, model.version(version)


def infer_routes(model: str) -> tuple[str, str]:
    """The gateway's routes of a realtime model: the stacks make them, the function looks them up."""
    return f"POST /v2/models/{model}/infer", f"POST /v2/models/{model}/versions/{{version}}/infer"


def load_catalog(path: Path) -> Catalog:
    """Read a compiled `catalog.json`."""
    return parse_catalog(orjson.loads(path.read_bytes()))


def parse_catalog(data: Mapping[str, Any]) -> Catalog:
    """Turn the compiled JSON into values."""
    return Catalog(
        models={model["name"]: _model(model) for model in data["models"]},
        validators=data.get("validators", {}),
    )


def _model(data: Mapping[str, Any]) -> Model:
    versions = [_version(data["name"], version) for version in data["versions"]]
    plain = {
        key: value
        for key, value in data.items()
        if key not in ("versions", "session", "latency_classes")
    }
    return Model(
        **plain,
        latency_classes=tuple(data["latency_classes"]),
        session=SessionSpec(**data["session"]),
        versions={version.version: version for version in versions},
    )


def _version(model: str, data: Mapping[str, Any]) -> ModelVersion:
    return ModelVersion(
        model=model,
        version=data["version"],
        folder=data["folder"],
        files=tuple(FileSpec(**file) for file in data["files"]),
        graph_inputs=_tensors(data["graph_inputs"]),
        graph_outputs=_tensors(data["graph_outputs"]),
        inputs=_tensors(data["inputs"]),
        outputs=_tensors(data["outputs"]),
        row_independent=data["row_independent"],
        stacking_tolerance=data["stacking_tolerance"],
        pad=data.get("pad", {}),
        form=_form(data.get("form")),
    )


def _form(data: Mapping[str, Any] | None) -> FormSpec | None:
    if data is None:
        return None
    return FormSpec(
        files=tuple(FileSpec(**file) for file in data["files"]),
        optimization=data["optimization"],
        onnxruntime=data["onnxruntime"],
    )


def _tensors(data: Iterable[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name=item["name"], datatype=item["datatype"], shape=tuple(item["shape"]))
        for item in data
    )
