"""Writes manifests and requirement locks anew, after a file or a declaration was changed on purpose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.models import manifest as manifests
from cli.models.folders import MODEL_TOML, inspection_limits, model_folders
from cli.models.forms import is_measured, record_form
from cli.models.requirements import lock_requirements
from cli.output import CommandError
from shared.repository import MODEL_FILE, read_model_spec, read_repository, versions_on_disk

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from shared.schema.spec import Lineage, Manifest, ModelSpec


@dataclass(frozen=True, slots=True)
class Locked:
    """One file that `lock` looked at, and what became of it."""

    path: Path
    state: str
    """`unchanged`, `lineage updated`, `form measured`, `inspected anew`, `resolved` or `not here`."""


def lock(repository: Path, names: Sequence[str] = (), *, measure: bool = False) -> list[Locked]:
    """Lock these models, or all, and every pool's requirements.

    A version whose files and fillers are as its manifest says keeps what was measured, unless
    `measure`.
    """
    locked = [
        _lock_version(folder / version, spec, measure=measure)
        for folder in model_folders(repository, names)
        for spec in [read_model_spec(folder / MODEL_TOML)]
        for version in versions_on_disk(folder)
    ]
    written = lock_requirements(read_repository(repository))
    return [*locked, *(Locked(path, "resolved") for path in written)]


def _lock_version(folder: Path, spec: ModelSpec, *, measure: bool) -> Locked:
    path = folder / manifests.MANIFEST_FILE
    before = manifests.previous(folder)
    if not (folder / MODEL_FILE).is_file():
        return Locked(path, "not here")
    lineage = _lineage(before, spec, folder.name)
    pad = spec.batching.pad
    if (
        before is None
        or measure
        or _fillers(before) != pad
        or not manifests.describes(before, folder)
    ):
        manifests.write(folder, _inspected(folder, lineage, spec))
        record_form(folder, spec)
        return Locked(path, "inspected anew")
    state = "unchanged"
    if before.lineage != lineage:
        manifests.write(folder, before.model_copy(update={"lineage": lineage}))
        state = "lineage updated"
    if not is_measured(before, spec):
        record_form(folder, spec)
        state = "form measured"
    return Locked(path, state)


def _lineage(before: Manifest | None, spec: ModelSpec, version: str) -> Lineage:
    """model.toml speaks for the default version; others keep what they were locked with."""
    return spec.lineage if before is None or version == spec.default_version else before.lineage


def _fillers(manifest: Manifest) -> Mapping[str, float]:
    """Those with which the version was measured."""
    padding = manifest.stacking.padding
    return padding.fillers if padding else {}


def _inspected(folder: Path, lineage: Lineage, spec: ModelSpec) -> Manifest:
    from shared.inference.findings import ModelRefusedError
    from shared.inference.sandbox import inspect_in_sandbox

    pad, limits = spec.batching.pad, inspection_limits(folder.parents[1], spec.pool)
    try:
        inspection = inspect_in_sandbox(folder / MODEL_FILE, limits=limits, pad=pad)
    except ModelRefusedError as error:
        raise CommandError(f"{folder / MODEL_FILE} cannot be served: {error}") from error
    return manifests.build(
        folder,
        inspection,
        model=folder.parent.name,
        version=folder.name,
        lineage=lineage,
        pad=pad,
    )
