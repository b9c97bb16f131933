"""C5: how large the serving package is, unzipped, with its layer and its bytecode, without a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from benchmarks.harness.figure import Effort, Figure
from benchmarks.harness.packages import ROOT, TABULAR
from benchmarks.harness.spread import spread
from shared.repository import read_repository
from stacks.packaging.assets import BuildContext
from stacks.packaging.build import build_pool
from stacks.packaging.layers import ONNX_RUNTIME, build_layer

_ARCHITECTURES: tuple[Literal["x86_64", "arm64"], ...] = ("x86_64", "arm64")


def measure_size(_: Effort) -> list[Figure]:
    """Both architectures are built here; neither is run."""
    return [_figure(architecture) for architecture in _ARCHITECTURES]


def _figure(architecture: Literal["x86_64", "arm64"]) -> Figure:
    context = BuildContext(architecture=architecture)
    layer = build_layer(ONNX_RUNTIME, context).folder
    repository = read_repository(ROOT / "models")
    alone = replace(repository, models={TABULAR.name: repository.models[TABULAR.name]})
    code = build_pool(alone, "shared", context).folder
    layer_mb, code_mb = _megabytes(layer), _megabytes(code, without="models")
    return Figure(
        key=f"C5.{architecture}",
        value=spread([layer_mb + code_mb]),
        parts={"layer MB": spread([layer_mb]), "code MB": spread([code_mb])},
        note="without models and what their transforms require",
    )


def _megabytes(folder: Path, *, without: str = "") -> float:
    """Millions of bytes of all files, with or without one folder at the top."""
    files = (path for path in folder.rglob("*") if path.is_file())
    counted = (path for path in files if path.relative_to(folder).parts[0] != without)
    return sum(path.stat().st_size for path in counted) / 1e6
