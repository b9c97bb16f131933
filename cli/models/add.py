"""Takes an ONNX file into the repository: inspects it, copies it, writes its declaration and manifest.

Everything is made in a folder beside and moved into place whole, so that a refusal leaves nothing.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from cli.models import manifest as manifests
from cli.models.declaration import model_toml
from cli.models.folders import MODEL_TOML, inspection_limits
from cli.models.forms import record_form
from cli.output import CommandError
from shared.inference.findings import ModelRefusedError
from shared.inference.sandbox import inspect_in_sandbox
from shared.limits import LAMBDA_PACKAGE_BYTES, MIB
from shared.repository import (
    MODEL_FILE,
    RepositoryError,
    read_manifest,
    read_model,
    read_model_spec,
    read_repository,
    versions_on_disk,
)
from shared.schema.spec import Lineage, Manifest, ModelName, VersionName

if TYPE_CHECKING:
    from shared.inference.findings import ModelInspection

RESERVED_NAMES = frozenset({"stats"})
"""`/v2/models/stats` is a call of the protocol."""
ROOM_BYTES = 150 * MIB
"""What a package of 250 MiB leaves for models beside the layer, roughly; synth has the exact answer."""


@dataclass(frozen=True, slots=True)
class Added:
    """What was taken in, and what the user should know of it."""

    folder: Path
    manifest: Manifest
    run_ms: float | None
    is_new_model: bool
    notes: tuple[str, ...]


def add(
    file: Path,
    repository: Path,
    *,
    name: str,
    version: str | None = None,
    description: str = "",
    pool: str = "shared",
) -> Added:
    """Add `file` as a version of model `name`; CommandError, and nothing written, when it cannot be."""
    folder = repository / name
    version = _checked_version(folder, name, version)
    if not file.is_file():
        raise CommandError(f"{file} is not a file")
    is_new = not (folder / MODEL_TOML).exists()
    spec = None if is_new else read_model_spec(folder / MODEL_TOML)
    pad = spec.batching.pad if spec else {}
    try:
        limits = inspection_limits(repository, spec.pool if spec else pool)
        inspection = inspect_in_sandbox(file, limits=limits, pad=pad)
    except ModelRefusedError as error:
        raise CommandError(f"{file.name} cannot be served: {error}") from error
    repository.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".adding-", dir=repository) as scratch:
        made = Path(scratch) / version
        _copy(file, inspection, made)
        lineage = spec.lineage if spec else Lineage()
        manifest = manifests.build(
            made, inspection, model=name, version=version, lineage=lineage, pad=pad
        )
        manifests.write(made, manifest)
        run_ms = inspection.trial.run_ms
        text = model_toml(manifest, description=description, pool=pool, run_ms=run_ms)
        _move(made, folder, text if is_new else None)
    record_form(folder / version, read_model_spec(folder / MODEL_TOML))
    manifest = read_manifest(folder / version / manifests.MANIFEST_FILE)
    notes = _notes(folder, inspection, manifest, is_new=is_new)
    return Added(folder, manifest, run_ms, is_new, tuple(notes + _whole(repository)))


def _checked_version(folder: Path, name: str, version: str | None) -> str:
    """The version to make: the one asked for, else the next number; refused if it is there."""
    try:
        TypeAdapter(ModelName).validate_python(name)
    except ValidationError:
        raise CommandError(
            f"{name!r} is not a model's name: lower-case letters, digits and -, 48 at most"
        ) from None
    if name in RESERVED_NAMES:
        raise CommandError(f"{name!r} is a call of the protocol; choose another name")
    taken = versions_on_disk(folder)
    numbers = [int(taken_version) for taken_version in taken if taken_version.isdecimal()]
    chosen = version if version is not None else str(max(numbers, default=0) + 1)
    try:
        TypeAdapter(VersionName).validate_python(chosen)
    except ValidationError:
        raise CommandError(f"{chosen!r} is not a version: letters, digits and ._-") from None
    if chosen in {".", ".."}:
        raise CommandError(f"{chosen!r} is not a version: it names a folder")
    if (folder / chosen).exists():
        raise CommandError(
            f"model {name!r} has a version {chosen!r} already, and a version never changes; "
            "leave --version out for the next number"
        )
    return chosen


def _copy(file: Path, inspection: ModelInspection, made: Path) -> None:
    """The model as `model.onnx` and its external data under the paths that it names."""
    made.mkdir()
    shutil.copyfile(file, made / MODEL_FILE)
    for path in inspection.files[1:]:
        target = made / path
        if path in {MODEL_FILE, manifests.MANIFEST_FILE} or target.exists():
            raise CommandError(
                f"external data file {path!r} has a name that is taken here; save the model again "
                "with another location for its data"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file.parent / path, target)


def _move(made: Path, folder: Path, declaration: str | None) -> None:
    """Put the version in place; with a declaration, the model too, and check both together."""
    is_new_folder = not folder.exists()
    folder.mkdir(exist_ok=True)
    target = folder / made.name
    made.rename(target)
    try:
        if declaration is not None:
            (folder / MODEL_TOML).write_text(declaration, encoding="utf-8")
        read_model(folder / MODEL_TOML)
    except BaseException:
        shutil.rmtree(target)
        if declaration is not None:
            (folder / MODEL_TOML).unlink()
        if is_new_folder:
            folder.rmdir()
        raise


def _notes(
    folder: Path, inspection: ModelInspection, manifest: Manifest, *, is_new: bool
) -> list[str]:
    """What speaks against an expectation that the user may have."""
    notes = []
    if not manifest.stacking.row_independent:
        notes.append(f"requests to it are never run together: {manifest.stacking.reason}")
    padding = manifest.stacking.padding
    if padding is not None and not padding.holds:
        notes.append(f"requests of unlike lengths are not padded: {padding.reason}")
    size_bytes = sum(file.size_bytes for file in manifest.files)
    if size_bytes > ROOM_BYTES:
        notes.append(_too_big(size_bytes))
    if not inspection.trial.ran:
        notes.append("write a golden.json with an input that it takes, so that `check` can run it")
    if not is_new:
        notes += _changes(folder, manifest)
    return notes


def _too_big(size_bytes: int) -> str:
    limit = f"{LAMBDA_PACKAGE_BYTES // MIB} MiB that a package may have"
    if size_bytes >= LAMBDA_PACKAGE_BYTES:
        return (
            f"{size_bytes // MIB} MiB is more than the {limit}: functions fetch it from S3 at their start; "
            "raise files_mib in [<pool>.admission] of pools.toml, or quantize it"
        )
    return (
        f"{size_bytes // MIB} MiB of {limit}, layer and other models included: "
        "give it a pool of its own"
    )


def _whole(repository: Path) -> list[str]:
    """What stands in the way of deploying the repository, a pool that is not there for one."""
    try:
        read_repository(repository)
    except RepositoryError as error:
        return [f"the repository cannot be deployed yet: {error}"]
    return []


def _changes(folder: Path, manifest: Manifest) -> list[str]:
    """Whether callers of the default version would have to change for this one."""
    default = read_model(folder / MODEL_TOML).manifests
    before = next(iter(default.values()))
    found = []
    for kind, old, new in (
        ("inputs", before.inputs, manifest.inputs),
        ("outputs", before.outputs, manifest.outputs),
    ):
        if old != new:
            found.append(f"its {kind} differ from those of version {before.version}")
    return found
