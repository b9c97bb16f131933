"""What `laneway models list` and `show` tell of a repository; broken models are shown with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.models.folders import MODEL_TOML, human_size, model_folders
from shared.repository import (
    MODEL_FILE,
    RepositoryError,
    fetched_outputs,
    read_model,
    versions_on_disk,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from shared.repository import ModelEntry
    from shared.schema.spec import Manifest, MeasuredForm, Padded, TensorDeclaration

LIST_COLUMNS = ("model", "default", "served", "on disk", "pool", "classes", "p99 target", "size")
TENSOR_COLUMNS = ("", "name", "datatype", "shape")
VERSION_COLUMNS = ("version", "state", "size", "opset", "producer", "stacking", "form", "metrics")


def list_rows(repository: Path) -> list[tuple[str, ...]]:
    """One row per model in the order of LIST_COLUMNS."""
    return [_list_row(folder) for folder in model_folders(repository)]


def _list_row(folder: Path) -> tuple[str, ...]:
    try:
        entry = read_model(folder / MODEL_TOML)
    except RepositoryError as error:
        return (folder.name, "broken", str(error), *[""] * (len(LIST_COLUMNS) - 3))
    spec = entry.spec
    size_bytes = sum(f.size_bytes for m in entry.manifests.values() for f in m.files)
    missing = _missing(entry)
    return (
        entry.name,
        spec.default_version,
        " ".join(entry.manifests),
        " ".join(versions_on_disk(folder)),
        spec.pool + (" (gpu)" if spec.compute == "gpu" else ""),
        " ".join(spec.latency_classes),
        f"{spec.target_p99_ms} ms",
        human_size(size_bytes) + (", to be pulled" if missing else ""),
    )


def tensor_rows(entry: ModelEntry) -> Iterator[tuple[str, ...]]:
    """What callers send and get; with a transform also what the graph takes, and what runs fetch of it."""
    spec, manifest = entry.spec, entry.manifests[entry.spec.default_version]
    fetched = fetched_outputs(spec, manifest)
    if not spec.inputs:
        yield from _tensor_rows("input", manifest.inputs)
        yield from _tensor_rows("output", fetched)
        return
    yield from _tensor_rows("input", spec.inputs)
    yield from _tensor_rows("graph input", manifest.inputs)
    yield from _tensor_rows("graph output", fetched)
    yield from _tensor_rows("output", spec.outputs)


def version_rows(entry: ModelEntry) -> Iterator[tuple[str, ...]]:
    """One row per served version in the order of VERSION_COLUMNS."""
    missing = _missing(entry)
    for version, manifest in entry.manifests.items():
        default = version == entry.spec.default_version
        yield (
            version,
            ("default" if default else "served") + (", to be pulled" if version in missing else ""),
            human_size(sum(file.size_bytes for file in manifest.files)),
            " ".join(f"{domain} {number}" for domain, number in manifest.opset.items()),
            manifest.producer,
            stacking_words(manifest),
            form_words(manifest),
            " ".join(f"{k} {v:g}" for k, v in manifest.lineage.metrics.items()),
        )


def stacking_words(manifest: Manifest) -> str:
    """Whether requests may be stacked, with the figure that was measured."""
    stacking = manifest.stacking
    if not stacking.row_independent:
        return f"never: {stacking.reason}" if stacking.reason else "never"
    return f"yes{_within(stacking.tolerance)}{_padding_words(stacking.padding)}"


def form_words(manifest: Manifest) -> str:
    """What packages ship of the version, with the figures by which it was chosen."""
    return "; ".join(
        f"{machine}: plain, {form.reason}"
        if form.optimization is None
        else f"{machine}: offline-optimised, {form_figures(form)}"
        for machine, form in manifest.forms.items()
    )


def form_figures(form: MeasuredForm) -> str:
    """What the form takes, against the plain files."""
    memory = "" if form.memory_ratio is None else f", memory x {form.memory_ratio:g}"
    size = human_size(form.size_bytes or 0)
    return f"start x {form.start_ratio:g}{memory}, run x {form.run_ratio:g}, {size}"


def _padding_words(padding: Padded | None) -> str:
    if padding is None:
        return ""
    return (
        f"; padded{_within(padding.tolerance)}"
        if padding.holds
        else f"; not padded: {padding.reason}"
    )


def _within(tolerance: float | None) -> str:
    if tolerance is None:
        return ""
    return f", within {tolerance:.2g}" if tolerance else ", bit for bit"


def _missing(entry: ModelEntry) -> list[str]:
    """Served versions whose model file is not here yet."""
    return [v for v in entry.manifests if not (entry.folder / v / MODEL_FILE).is_file()]


def _tensor_rows(kind: str, tensors: Sequence[TensorDeclaration]) -> Iterator[tuple[str, ...]]:
    for tensor in tensors:
        shape = ", ".join("any" if size < 0 else str(size) for size in tensor.shape)
        yield (kind, tensor.name, tensor.datatype, f"[{shape}]")
