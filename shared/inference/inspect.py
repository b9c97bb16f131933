"""What `laneway models add` learns of an ONNX file: its signature, its parts, how it behaves when run.

Refuses, with the reason and the way out, what the protocol cannot carry or a function cannot run.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import onnxruntime

from shared.catalog import ModelVersion, SessionSpec, TensorSpec
from shared.inference.admission_limits import AdmissionLimits, widest_limits
from shared.inference.budget import untimed
from shared.inference.findings import ModelInspection, ModelRefusedError, PaddingTrial, Trial
from shared.inference.graph_scan import GraphScan, scan
from shared.inference.padding import Padding, PaddingRefusedError
from shared.inference.padding_trial import try_padding
from shared.inference.runtime_words import out_of_memory, reason
from shared.inference.session import ModelSession, open_session, session_options
from shared.inference.stacking_trial import try_model
from shared.limits import NAME_LENGTH_MAX, TENSOR_RANK_MAX
from shared.schema.datatypes import BY_ONNX_TYPE
from shared.schema.padding import padding_fault

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from onnxruntime import InferenceSession

    from shared.inference.budget import Steps

__all__ = ["ModelInspection", "ModelRefusedError", "inspect_model"]

DEFAULT_SESSION: Final = SessionSpec(
    intra_op_threads=None, inter_op_threads=1, optimization="all", memory_arena=True
)


def inspect_model(
    path: Path,
    *,
    threads: int = 1,
    pad: Mapping[str, float] | None = None,
    limits: AdmissionLimits | None = None,
    steps: Steps = untimed,
) -> ModelInspection:
    """Read, load and run the ONNX file at `path`. Raises ModelRefusedError.

    `pad`: fillers by input, where the model declares them. `steps`: told before each. In a process with
    limits: see `sandbox`.
    """
    limits = limits or widest_limits()
    graph_bytes = path.stat().st_size if path.is_file() else 0
    steps("reading the graph", limits.scan_s, size_bytes=graph_bytes)
    found = scan(path, limits)
    outside = sum((path.parent / name).stat().st_size for name in found.external_files)
    steps("loading", limits.load_s, size_bytes=graph_bytes + outside)
    session = _load(path, found, threads=threads)
    inputs = _signature(session.get_inputs(), "input", found)
    outputs = _signature(session.get_outputs(), "output", found)
    _check_mixture(inputs, outputs)
    if not inputs:
        raise ModelRefusedError("the model takes no input, so there is nothing to ask it")
    served = ModelSession(_unlocked(path, inputs, outputs), session, fed_by_caller=False)
    steps("running one row", limits.run_s)
    timed = None if steps is untimed else limits.wall_s
    trial = try_model(served, session, run_s=timed, run_cpu_s=limits.run_s, steps=steps)
    ranked = tuple(_ranked(spec, found, trial) for spec in outputs)
    return ModelInspection(
        inputs=inputs,
        outputs=ranked,
        opset=found.opset,
        producer=found.producer,
        files=(path.name, *found.external_files),
        trial=trial,
        padding=_padded(served.version, ranked, session, trial, pad, steps=steps) if pad else None,
    )


def _padded(
    version: ModelVersion,
    outputs: tuple[TensorSpec, ...],
    session: InferenceSession,
    trial: Trial,
    pad: Mapping[str, float],
    *,
    steps: Steps,
) -> PaddingTrial:
    """What padding does, for a model that may be stacked at all. Raises ModelRefusedError."""
    fault = padding_fault(pad, version.graph_inputs)
    if fault is not None:
        raise ModelRefusedError(f"batching.pad: {fault}")
    served = ModelSession(replace(version, graph_outputs=outputs, pad=pad), session)
    try:
        padding = Padding(served.version, served)
    except PaddingRefusedError as error:
        raise ModelRefusedError(f"batching.pad: {error}") from error
    if not trial.row_independent:
        return PaddingTrial(None, f"it is not stacked: {trial.reason}")
    return try_padding(served, padding, steps=steps)


def _load(path: Path, found: GraphScan, *, threads: int) -> InferenceSession:
    try:
        return open_session(path, session_options(DEFAULT_SESSION, threads=threads))
    except Exception as error:
        opsets = ", ".join(f"{domain} {version}" for domain, version in found.opset.items())
        if out_of_memory(error):
            raise ModelRefusedError(
                f"{path.name} cannot be loaded in the memory that it may have; quantize it, or "
                "give its pool more memory_mib"
            ) from error
        raise ModelRefusedError(
            f"onnxruntime {onnxruntime.__version__} cannot load {path.name}, opset {opsets}: "
            f"{reason(error)}; export it again for an opset and with types that this version "
            "knows, and let onnx.checker look at it"
        ) from error


def _signature(items: list[Any], kind: str, found: GraphScan) -> tuple[TensorSpec, ...]:
    return tuple(_tensor(item, kind, found) for item in items)


def _tensor(item: Any, kind: str, found: GraphScan) -> TensorSpec:
    datatype = BY_ONNX_TYPE.get(item.type)
    if datatype is None:
        raise ModelRefusedError(
            f"{kind} {item.name!r} is {item.type}, which the protocol cannot carry; "
            f"{_way_out(item.type, found)}"
        )
    if kind == "input" and item.name in found.unranked:
        raise ModelRefusedError(
            f"input {item.name!r} declares no number of dimensions; export the model with a "
            "shape, with names for the dimensions that are open"
        )
    if not 0 < len(item.name) <= NAME_LENGTH_MAX or len(item.shape) > TENSOR_RANK_MAX:
        raise ModelRefusedError(
            f"{kind} {item.name[:60]!r} has a name of more than {NAME_LENGTH_MAX} characters or "
            f"more than {TENSOR_RANK_MAX} dimensions"
        )
    shape = tuple(
        dimension if isinstance(dimension, int) and dimension >= 0 else -1
        for dimension in item.shape
    )
    return TensorSpec(name=item.name, datatype=datatype.name, shape=shape)


def _way_out(onnx_type: str, found: GraphScan) -> str:
    if "ZipMap" in found.operators:
        return 'export it with skl2onnx and options={"zipmap": False}, which gives plain arrays'
    if onnx_type.startswith(("seq", "map", "optional", "sparse")):
        return "export the model with plain tensors for outputs and inputs"
    return "add a Cast to a datatype of the protocol at that place before exporting"


def _check_mixture(inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> None:
    datatypes = {spec.datatype for spec in inputs + outputs}
    if {"BF16", "BYTES"} <= datatypes:
        raise ModelRefusedError(
            "the model has BF16 and string tensors together, which onnxruntime's Python binding "
            "cannot pass in one call; cast one of them to another datatype before exporting"
        )


def _unlocked(
    path: Path, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
) -> ModelVersion:
    """The version as it would be served, without the files that a manifest locks."""
    return ModelVersion(
        model=path.name,
        version="(new)",
        folder=str(path.parent),
        files=(),
        graph_inputs=inputs,
        graph_outputs=outputs,
        inputs=inputs,
        outputs=outputs,
        row_independent=False,
        stacking_tolerance=None,
    )


def _ranked(spec: TensorSpec, found: GraphScan, trial: Trial) -> TensorSpec:
    """An output that declares no rank gets the one that it had when run."""
    rank = trial.output_ranks.get(spec.name)
    if spec.name not in found.unranked:
        return spec
    if rank is None:
        raise ModelRefusedError(
            f"output {spec.name!r} declares no number of dimensions, and the model did not run with "
            "random inputs to show it; export it with a shape"
        )
    return TensorSpec(name=spec.name, datatype=spec.datatype, shape=(-1,) * rank)
