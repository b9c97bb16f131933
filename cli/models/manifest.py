"""Writes manifest.json: what the file of one version says about itself, how it ran, and its digests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic import ValidationError

from cli.models.folders import sha256_of
from cli.output import CommandError
from shared.repository import MODEL_FILE, RepositoryError, read_manifest
from shared.schema.spec import Lineage, Manifest, ManifestFile, Padded, Stacking, TensorDeclaration

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from shared.catalog import TensorSpec
    from shared.inference.findings import ModelInspection

MANIFEST_FILE = "manifest.json"


def build(
    folder: Path,
    inspection: ModelInspection,
    *,
    model: str,
    version: str,
    lineage: Lineage,
    pad: Mapping[str, float],
) -> Manifest:
    """The manifest of the version in `folder`, whose file is `model.onnx`; inspected with fillers `pad`."""
    trial, padding = inspection.trial, inspection.padding
    return Manifest(
        model=model,
        version=version,
        files=_digests(folder, inspection.files[1:]),
        inputs=_declared(inspection.inputs),
        outputs=_declared(inspection.outputs),
        opset=inspection.opset,
        producer=inspection.producer,
        stacking=Stacking(
            row_independent=trial.row_independent,
            tolerance=_rounded(trial.tolerance),
            reason=trial.reason,
            padding=None
            if padding is None
            else Padded(
                fillers=dict(pad),
                holds=not padding.reason,
                tolerance=_rounded(padding.tolerance),
                reason=padding.reason,
            ),
        ),
        lineage=lineage,
    )


def write(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of the version in `folder`, whole or not at all."""
    path = folder / MANIFEST_FILE
    partial = path.with_name(path.name + ".partial")
    data = manifest.model_dump(mode="json")
    if manifest.stacking.padding is None:
        del data["stacking"]["padding"]
    if not manifest.forms:
        del data["forms"]
    partial.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def previous(folder: Path) -> Manifest | None:
    """The manifest that the version has, if it is there and still means something."""
    try:
        return read_manifest(folder / MANIFEST_FILE)
    except RepositoryError:
        return None


def describes(manifest: Manifest, folder: Path) -> bool:
    """Whether the files in `folder` are, byte for byte, those that the manifest was made from."""
    if not all((folder / file.path).is_file() for file in manifest.files):
        return False
    return manifest.files == _digests(folder, [file.path for file in manifest.files[1:]])


def _rounded(tolerance: float | None) -> float | None:
    return None if tolerance is None else float(f"{tolerance:.3g}")


def _digests(folder: Path, external: Iterable[str]) -> tuple[ManifestFile, ...]:
    """`model.onnx` first, then its external data."""
    try:
        return tuple(
            ManifestFile(
                path=path,
                sha256=sha256_of(folder / path),
                size_bytes=(folder / path).stat().st_size,
            )
            for path in (MODEL_FILE, *external)
        )
    except ValidationError as error:
        raise CommandError(
            f"external data file {error.errors()[0]['input']!r}: use letters, digits and ._+- in "
            "its name; save the model again with another location"
        ) from error


def _declared(tensors: Sequence[TensorSpec]) -> tuple[TensorDeclaration, ...]:
    return tuple(
        TensorDeclaration.model_validate(
            {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        )
        for tensor in tensors
    )
