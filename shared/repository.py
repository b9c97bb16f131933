"""Reads a model repository (a folder of models) and compiles it into catalogs.

The folder holds `pools.toml` and, per model, `<name>/model.toml` and `<name>/<version>/manifest.json`.
Everything is checked here, once, so that functions can trust the catalog. Files of models are not
opened: their digests are checked by whoever packages or loads them.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from shared.schema.padding import padding_fault
from shared.schema.spec import Manifest, ModelSpec, PoolSpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from shared.schema.spec import TensorDeclaration

MODEL_FILE = "model.onnx"
TRANSFORM_FILE = "transform.py"
FORM_FILE = "optimized.onnx"
"""A version's offline-optimised form, in a package in place of its files."""
WEIGHTS_FILE = f"{FORM_FILE}.data"
DEFAULT_POOL = "shared"

_Spec = TypeVar("_Spec", bound=BaseModel)


class RepositoryError(Exception):
    """Something in the model repository cannot be deployed; says which file, what and the way out."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model of the repository: its declaration and the manifests of its served versions."""

    name: str
    folder: Path
    spec: ModelSpec
    manifests: Mapping[str, Manifest]
    """By version; the default version first, then as `serve` lists them."""

    @property
    def transform(self) -> Path | None:
        """The model's `transform.py`, or None."""
        path = self.folder / TRANSFORM_FILE
        return path if path.is_file() else None


@dataclass(frozen=True, slots=True)
class Repository:
    """A validated model repository."""

    folder: Path
    models: Mapping[str, ModelEntry]
    pools: Mapping[str, PoolSpec]

    def models_of(self, pool: str) -> list[ModelEntry]:
        """The models that are packaged into this pool, by name."""
        return [entry for entry in self.models.values() if entry.spec.pool == pool]


def read_repository(folder: Path) -> Repository:
    """Read and check the whole repository; raises RepositoryError at the first thing that is wrong."""
    if not folder.is_dir():
        raise RepositoryError(f"{folder} is not a folder; name the folder that holds the models")
    pools = read_pools(folder)
    models = {path.parent.name: read_model(path) for path in sorted(folder.glob("*/model.toml"))}
    if not models:
        raise RepositoryError(
            f"{folder} holds no model; add one with: laneway models add FILE --name NAME"
        )
    for entry in models.values():
        if entry.spec.pool not in pools:
            raise RepositoryError(
                f"{entry.folder / 'model.toml'}: pool {entry.spec.pool!r} is not in pools.toml, "
                f"which has {', '.join(pools)}; add a [{entry.spec.pool}] table or name one of these"
            )
    _check_compute(models)
    return Repository(folder=folder, models=models, pools=pools)


def read_model_spec(path: Path) -> ModelSpec:
    """Read and check one `model.toml`."""
    return _validate(ModelSpec, _toml(path), path)


def read_manifest(path: Path) -> Manifest:
    """Read and check one `manifest.json`."""
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise RepositoryError(
            f"{path} is missing; write it with: laneway models lock {path.parent.parent.name}"
        ) from None
    except ValueError as error:
        raise RepositoryError(f"{path} is not JSON: {error}") from error
    return _validate(Manifest, data, path)


def versions_on_disk(folder: Path) -> list[str]:
    """Versions of the model in this folder that have a model file or a manifest, oldest first."""
    names = {path.parent.name for path in folder.glob("*/manifest.json")}
    names |= {path.parent.name for path in folder.glob(f"*/{MODEL_FILE}")}
    return sorted(names, key=_version_order)


def fetched_outputs(spec: ModelSpec, manifest: Manifest) -> tuple[TensorDeclaration, ...]:
    """The graph's outputs that a run fetches, in the order in which they are declared."""
    by_name = {tensor.name: tensor for tensor in manifest.outputs}
    return tuple(by_name[name] for name in spec.session.outputs or by_name)


def compile_catalog(repository: Repository, *, pool: str | None = None) -> dict[str, Any]:
    """The JSON-ready catalog of one pool, or of every model when `pool` is None."""
    entries = repository.models.values() if pool is None else repository.models_of(pool)
    return {"models": [_compile_model(entry) for entry in entries]}


def _check_compute(models: Mapping[str, ModelEntry]) -> None:
    """A pool is one package for one kind of machine: its models share one compute."""
    first: dict[str, ModelEntry] = {}
    for entry in models.values():
        other = first.setdefault(entry.spec.pool, entry)
        if other.spec.compute != entry.spec.compute:
            raise RepositoryError(
                f"{entry.folder / 'model.toml'}: model {entry.name!r} has compute "
                f"{entry.spec.compute!r} and model {other.name!r} of the same pool "
                f"{entry.spec.pool!r} has {other.spec.compute!r}; give one of them a pool of its "
                "own in pools.toml"
            )


def read_pools(folder: Path) -> dict[str, PoolSpec]:
    """Read and check `pools.toml`; one pool with the defaults where there is none."""
    path = folder / "pools.toml"
    if not path.is_file():
        return {DEFAULT_POOL: PoolSpec()}
    pools = {}
    for name, table in _toml(path).items():
        if not isinstance(table, dict):
            raise RepositoryError(f"{path}: {name!r} is not a table; write it as [{name}]")
        pools[name] = _validate(PoolSpec, table, path, where=name)
    return pools or {DEFAULT_POOL: PoolSpec()}


def read_model(path: Path) -> ModelEntry:
    """Read and check one model, `path` being its `model.toml`, with the manifests that it serves."""
    folder = path.parent
    spec = read_model_spec(path)
    entry = ModelEntry(
        name=folder.name, folder=folder, spec=spec, manifests=_manifests(folder, spec)
    )
    _check_transform(entry, path)
    _check_outputs(entry, path)
    _check_padding(entry, path)
    return entry


def _manifests(folder: Path, spec: ModelSpec) -> dict[str, Manifest]:
    served = spec.serve if spec.serve is not None else _default_serve(folder, spec.default_version)
    order = sorted(served, key=lambda version: version != spec.default_version)
    manifests = {}
    for version in order:
        path = folder / version / "manifest.json"
        manifest = read_manifest(path)
        if (manifest.model, manifest.version) != (folder.name, version):
            raise RepositoryError(
                f"{path} was written for {manifest.model} version {manifest.version}; "
                f"write it anew with: laneway models lock {folder.name}"
            )
        manifests[version] = manifest
    return manifests


def _default_serve(folder: Path, default: str) -> tuple[str, ...]:
    """The default version and the one before it, so that a rollback needs no build."""
    versions = versions_on_disk(folder)
    if default not in versions:
        found = ", ".join(versions) or "none"
        raise RepositoryError(
            f"{folder / 'model.toml'}: default_version {default!r} has no folder with a model; "
            f"versions found: {found}"
        )
    before = versions[: versions.index(default)]
    return (default, *before[-1:])


def _check_transform(entry: ModelEntry, path: Path) -> None:
    declares = bool(entry.spec.inputs or entry.spec.outputs)
    if entry.transform is None and declares:
        raise RepositoryError(
            f"{path}: [[inputs]] and [[outputs]] describe what transform.py takes and gives, and "
            f"there is none; remove them or add {entry.folder / TRANSFORM_FILE}"
        )
    if entry.transform is not None and not (entry.spec.inputs and entry.spec.outputs):
        raise RepositoryError(
            f"{path}: the model has a transform.py, so its public [[inputs]] and [[outputs]] must "
            "be declared here (name, datatype, shape)"
        )
    if entry.transform is None and entry.spec.requirements:
        raise RepositoryError(f"{path}: requirements are for transform.py, and there is none")


def _check_outputs(entry: ModelEntry, path: Path) -> None:
    """What runs are to fetch is there in the graph of every served version."""
    for version, manifest in entry.manifests.items():
        given = [tensor.name for tensor in manifest.outputs]
        for name in entry.spec.session.outputs:
            if name not in given:
                raise RepositoryError(
                    f"{path}: session.outputs: the graph of version {version!r} has no output {name!r}; "
                    f"it has {', '.join(given)}"
                )


def _check_padding(entry: ModelEntry, path: Path) -> None:
    """Fillers fit the inputs of every served version, and were tried with it."""
    pad = entry.spec.batching.pad
    if not pad:
        return
    for version, manifest in entry.manifests.items():
        fault = padding_fault(pad, manifest.inputs)
        if fault is not None:
            raise RepositoryError(f"{path}: batching.pad: version {version!r}: {fault}")
        found = manifest.stacking.padding
        if found is None or found.fillers != pad:
            raise RepositoryError(
                f"{path}: batching.pad was not tried with version {version!r}; what padding does "
                f"to its answers is measured by: laneway models lock {entry.name}"
            )


def _compile_model(entry: ModelEntry) -> dict[str, Any]:
    spec = entry.spec
    folder = f"models/{entry.name}"
    return {
        "name": entry.name,
        "description": spec.description,
        "pool": spec.pool,
        "latency_classes": list(spec.latency_classes),
        "compute": spec.compute,
        "default_version": spec.default_version,
        "target_p99_ms": spec.target_p99_ms,
        "allow_non_finite": spec.allow_non_finite,
        "transform": f"{folder}/{TRANSFORM_FILE}" if entry.transform else None,
        "session": spec.session.model_dump(exclude={"outputs"}),
        "max_batch_size": spec.batching.max_batch_size,
        "max_delay_ms": spec.batching.max_delay_ms,
        "versions": [
            _compile_version(spec, manifest, f"{folder}/{version}")
            for version, manifest in entry.manifests.items()
        ],
    }


def _compile_version(spec: ModelSpec, manifest: Manifest, folder: str) -> dict[str, Any]:
    graph_inputs = [tensor.model_dump(mode="json") for tensor in manifest.inputs]
    graph_outputs = [t.model_dump(mode="json") for t in fetched_outputs(spec, manifest)]
    padding = manifest.stacking.padding
    padded = bool(spec.batching.pad and padding and padding.holds)
    return {
        "version": manifest.version,
        "folder": folder,
        "files": [file.model_dump() for file in manifest.files],
        "graph_inputs": graph_inputs,
        "graph_outputs": graph_outputs,
        "inputs": [t.model_dump(mode="json") for t in spec.inputs] or graph_inputs,
        "outputs": [t.model_dump(mode="json") for t in spec.outputs] or graph_outputs,
        "row_independent": manifest.stacking.row_independent,
        "stacking_tolerance": manifest.stacking.tolerance,
        **({"pad": dict(spec.batching.pad)} if padded else {}),
    }


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RepositoryError(f"{path} is not TOML: {error}") from error


def _validate(spec: type[_Spec], data: Any, path: Path, *, where: str = "") -> _Spec:
    try:
        return spec.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join([*([where] if where else []), *(str(part) for part in first["loc"])])
        got = "" if first["type"] == "missing" else f" (got {first.get('input')!r:.80})"
        raise RepositoryError(f"{path}: {place or 'file'}: {first['msg']}{got}") from error


def _version_order(version: str) -> tuple[tuple[int, int, str], ...]:
    """Numbers by value, the rest by text, so that 10 comes after 9."""
    parts = version.replace("-", ".").replace("_", ".").split(".")
    return tuple(
        (0, int(part), "") if part.isascii() and part.isdigit() else (1, 0, part) for part in parts
    )
