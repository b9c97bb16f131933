"""One onnxruntime session of one model version: its files verified, its runs under a deadline.

Feeds and results are numpy arrays by the graph's names. BF16, for which numpy has no type, travels
as its bit pattern in uint16 arrays.
"""

from __future__ import annotations

import ctypes
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnxruntime
from onnxruntime import GraphOptimizationLevel, InferenceSession, OrtValue, SessionOptions
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    RuntimeException,
)
from onnxruntime.capi.onnxruntime_pybind11_state import (
    NotImplemented as NotImplementedByRuntime,
)

from shared.errors import (
    DeadlineExceededError,
    LanewayError,
    ModelLimitError,
    ModelRunError,
    ModelUnavailableError,
    SignatureError,
    TooLargeError,
)
from shared.inference.deadline import FOREVER, WATCHDOG
from shared.inference.providers import CPU
from shared.inference.runtime_words import (
    at_node,
    out_of_memory,
    reason,
    value_fault,
    without_values,
)
from shared.inference.verifying import sha256_of, verify_files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from shared.catalog import FormSpec, ModelVersion, SessionSpec
    from shared.inference.providers import Device

OPTIMIZATION_LEVELS: Final = {
    "all": GraphOptimizationLevel.ORT_ENABLE_ALL,
    "extended": GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "basic": GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "disabled": GraphOptimizationLevel.ORT_DISABLE_ALL,
}
RUN_FAILURES: Final = (
    Fail,
    InvalidArgument,
    NotImplementedByRuntime,
    RuntimeException,
    MemoryError,
)
"""What onnxruntime raises from a run: its own exceptions share no base below Exception."""
LOG_FATAL_ONLY: Final = 4
"""onnxruntime writes a failed run's values to stderr at any lower severity; tensors are never logged."""
SLOW_ON_CPU: Final = ("SkipLayerNormFusion",)
"""Rewrites of a graph whose result onnxruntime's CPU kernels run slower than what was there: an addition and a
normalisation as one node take four to six times as long as both apart."""
ONNX_BFLOAT16: Final = 16
"""`TensorProto.BFLOAT16`."""


class ModelSession:
    """A session made from verified files; usable from several threads at once."""

    def __init__(
        self, version: ModelVersion, session: InferenceSession, *, fed_by_caller: bool = True
    ) -> None:
        """`fed_by_caller`: the values of a run are the caller's own, not a transform's."""
        self.version = version
        self._fed_by_caller = fed_by_caller
        self._session = session
        self._label = f"model {version.model!r} version {version.version!r}"
        self.output_names = [output.name for output in version.graph_outputs]
        self._bf16_inputs = {i.name for i in version.graph_inputs if i.datatype == "BF16"}
        self._bf16_outputs = {o.name for o in version.graph_outputs if o.datatype == "BF16"}
        self.shared_dimensions = shared_dimensions(session)
        self._batched = [i.name for i in version.graph_inputs if i.shape and i.shape[0] < 0]
        self.rows_meant: int | None = None
        """Rows that are run together at most; a request of more that needs too much memory is its caller's."""
        self.on_spent: Callable[[], object] | None = None
        """Told that a run needed more memory than there is, of which the session may still hold the most."""
        # The wrapper around the compiled session looks for missing inputs once more, for a sixth of
        # the time of a small model's run; the codec has done that.
        run = getattr(session, "_sess", session).run
        self._run = self._run_values if self._bf16_inputs or self._bf16_outputs else run

    @property
    def symbols(self) -> dict[str, tuple[Any, ...]]:
        """By input: its dimensions as the graph names them, numbers for those that are fixed."""
        return {item.name: tuple(item.shape) for item in self._session.get_inputs()}

    @property
    def output_symbols(self) -> dict[str, tuple[Any, ...]]:
        """By output: its dimensions as `symbols` has those of inputs; none where no rank is declared."""
        return {item.name: tuple(item.shape or ()) for item in self._session.get_outputs()}

    def run(
        self, feeds: Mapping[str, NDArray[Any]], output_names: Sequence[str], deadline_s: float
    ) -> list[NDArray[Any]]:
        """The outputs named, in that order, or an error by `deadline_s` on the monotonic clock.

        Raises DeadlineExceededError when the run was stopped, SignatureError when the graph
        refuses the caller's values (an index out of range), ModelRunError when it fails otherwise:
        onnxruntime's words are in its `detail`, for the log.
        """
        started_s = time.monotonic()
        watch = WATCHDOG.arm(deadline_s)
        try:
            return self._run(output_names, feeds, watch.options)
        except RUN_FAILURES as error:
            if not watch.options.terminate:
                raise self._translated(error, feeds) from error
            watch.renew()
            # If it may go on and has time, an earlier run of this thread was meant.
            if not watch.aborted and time.monotonic() < deadline_s:
                return self.run(feeds, output_names, deadline_s)
            raise self._stopped(started_s, deadline_s) from error
        finally:
            watch.deadline_s = FOREVER

    def _stopped(self, started_s: float, deadline_s: float) -> DeadlineExceededError:
        ran_ms = round((time.monotonic() - started_s) * 1000)
        allowed_ms = max(0, round((deadline_s - started_s) * 1000))
        return DeadlineExceededError(
            f"the run of {self._label} was stopped after {ran_ms} ms; it had {allowed_ms} ms left "
            "when it started"
        )

    def _translated(self, error: Exception, feeds: Mapping[str, NDArray[Any]]) -> LanewayError:
        by_values = self._fed_by_caller and isinstance(error, InvalidArgument)
        if out_of_memory(error) and not by_values:
            return self._spent(error, feeds)
        fault = value_fault(error) if self._fed_by_caller else None
        if fault is not None:
            return SignatureError(
                f"{self._label} cannot compute with these values: {fault}", field="inputs"
            )
        return ModelRunError(
            f"{self._label} failed{at_node(error)} on an input that fits its signature",
            detail=without_values(error),
        )

    def _spent(self, error: Exception, feeds: Mapping[str, NDArray[Any]]) -> LanewayError:
        """There was no memory for the run: its caller asked for more rows than are meant, or it is ours."""
        if self.on_spent is not None:
            self.on_spent()
        rows = max((len(feeds[name]) for name in self._batched if name in feeds), default=1)
        if self.rows_meant is not None and rows > self.rows_meant:
            return TooLargeError(
                f"{rows} rows at once need more memory than {self._label} may have; send at most "
                f"{self.rows_meant} a request",
                field="inputs",
            )
        return ModelLimitError(
            f"{self._label} needed more memory{at_node(error)} than it may have; send less at "
            "once, or give its pool more memory_mib",
            detail=without_values(error),
        )

    def _run_values(
        self, output_names: Sequence[str], feeds: Mapping[str, NDArray[Any]], options: Any
    ) -> list[NDArray[Any]]:
        """`session.run` for graphs with BF16, which onnxruntime passes as OrtValue only."""
        values = {
            name: OrtValue.ortvalue_from_numpy_with_onnx_type(array, ONNX_BFLOAT16)
            if name in self._bf16_inputs
            else OrtValue.ortvalue_from_numpy(array)
            for name, array in feeds.items()
        }
        results = self._session.run_with_ort_values(output_names, values, options)
        return [
            _bits(value) if name in self._bf16_outputs else value.numpy()
            for name, value in zip(output_names, results, strict=True)
        ]


def load_session(
    folder: Path,
    version: ModelVersion,
    spec: SessionSpec,
    *,
    threads: int = 1,
    fed_by_caller: bool = True,
    device: Device = CPU,
    hashed: Callable[[Path], str] = sha256_of,
) -> ModelSession:
    """Verify the files of `version` in `folder` and make its session on `device`.

    `threads`: intra-op threads where the model's declaration names none. `fed_by_caller`: see
    `ModelSession`. `hashed`: gives the SHA-256 of a file.
    Raises ModelUnavailableError for a missing file or one that onnxruntime cannot load,
    ModelDigestError for one that is not the one that was locked.
    """
    if version.form is not None:
        check_form(version, version.form)
    verify_files(folder, version, hashed)
    options = session_options(spec, threads=threads, form=version.form)
    path = folder / version.loaded[0].path
    try:
        session = open_session(path, options, device)
    except (
        Exception
    ) as error:  # onnxruntime's own exceptions share no base, and it raises others too
        raise ModelUnavailableError(
            f"onnxruntime cannot load model {version.model!r} version {version.version!r}: "
            f"{reason(error)}"
        ) from error
    device.check(session, f"model {version.model!r} version {version.version!r}")
    return ModelSession(version, session, fed_by_caller=fed_by_caller)


def open_session(path: Path, options: SessionOptions, device: Device = CPU) -> InferenceSession:
    """A session of a file on `device`, its graph rewritten in all ways that pay there.

    Raises what onnxruntime raises.
    """
    left_out = list(SLOW_ON_CPU) if device.name == CPU.name else None
    return InferenceSession(
        str(path), options, providers=list(device.providers), disabled_optimizers=left_out
    )


def check_form(version: ModelVersion, form: FormSpec) -> None:
    """Raise ModelUnavailableError where another onnxruntime optimised the graph than this one."""
    if form.onnxruntime != onnxruntime.__version__:
        raise ModelUnavailableError(
            f"model {version.model!r} version {version.version!r} was optimised by onnxruntime "
            f"{form.onnxruntime}, and this is {onnxruntime.__version__}; deploy it again"
        )


def session_options(
    spec: SessionSpec, *, threads: int, form: FormSpec | None = None
) -> SessionOptions:
    """The model's declaration in onnxruntime's terms; `form`: what is loaded in place of its files."""
    options = SessionOptions()
    options.intra_op_num_threads = spec.intra_op_threads or threads
    options.inter_op_num_threads = spec.inter_op_threads
    level = spec.optimization if form is None else form.optimization
    options.graph_optimization_level = OPTIMIZATION_LEVELS[level]
    options.enable_cpu_mem_arena = spec.memory_arena
    options.log_severity_level = LOG_FATAL_ONLY
    return options


def shared_dimensions(session: InferenceSession) -> list[tuple[str, list[tuple[str, int]]]]:
    """Symbolic dimensions that more than one place of the inputs shares: (symbol, [(input, axis)])."""
    places: dict[str, list[tuple[str, int]]] = {}
    for item in session.get_inputs():
        for axis, dimension in enumerate(item.shape or ()):
            if isinstance(dimension, str):
                places.setdefault(dimension, []).append((item.name, axis))
    return [(symbol, at) for symbol, at in places.items() if len(at) > 1]


def _bits(value: OrtValue) -> NDArray[np.uint16]:
    """A copy of a BF16 OrtValue's bit patterns, in its shape."""
    shape = value.shape()
    count = int(np.prod(shape, dtype=np.int64))
    if not count:
        return np.empty(shape, np.uint16)
    memory = ctypes.string_at(value.data_ptr(), count * 2)
    return np.frombuffer(memory, np.uint16).reshape(shape)
