"""A model's own `transform.py`: found by its path, called one request at a time, its results checked.

The code is trusted, as the model is; what it raises and returns is not: ValueError is its way of
refusing an input, anything else is its defect and is reported without its message, which may hold
values.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from shared.errors import LanewayError, TransformFailedError, TransformRefusedError
from shared.inference.datatypes import ARRAY_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import ModuleType

    from numpy.typing import NDArray

    from shared.catalog import ModelVersion, TensorSpec

    Arrays = dict[str, NDArray[Any]]

MESSAGE_CHARACTERS_MAX: Final = 500


class Expected(NamedTuple):
    """An array that a transform must return."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    datatype: str


def expected_of(spec: TensorSpec) -> Expected:
    """What `spec` declares."""
    return Expected(spec.name, ARRAY_TYPES[spec.datatype].dtype, tuple(spec.shape), spec.datatype)


class Transform:
    """`preprocess` and `postprocess` of one model; what the module does not define is None."""

    def __init__(self, module: ModuleType, *, model: str) -> None:
        self._model = model
        self.preprocess: Callable[..., Any] | None = getattr(module, "preprocess", None)
        self.postprocess: Callable[..., Any] | None = getattr(module, "postprocess", None)

    def before(self, inputs: Arrays, expected: Sequence[Expected]) -> Arrays:
        """The graph's inputs made of the public ones. Raises TransformRefusedError, TransformFailedError."""
        if self.preprocess is None:
            return inputs
        feeds = self._call("preprocess", self.preprocess, inputs)
        return self._checked("preprocess", feeds, expected, rows=None)

    def after(
        self, outputs: Arrays, feeds: Arrays, expected: Sequence[Expected], *, rows: int | None
    ) -> Arrays:
        """The public outputs made of the graph's; `rows`: the rows of the request, if it has any."""
        if self.postprocess is not None:
            outputs = self._call("postprocess", self.postprocess, outputs, feeds)
        return self._checked("postprocess", outputs, expected, rows=rows)

    def _call(self, step: str, function: Callable[..., Any], *arguments: Mapping[str, Any]) -> Any:
        try:
            return function(*arguments)
        except ValueError as error:
            message = str(error)[:MESSAGE_CHARACTERS_MAX] or "no reason given"
            raise TransformRefusedError(
                f"{step} of model {self._model!r} refused the input: {message}"
            ) from error
        except Exception as error:
            raise self._failed(step, f"raised {type(error).__name__}") from error

    def _checked(
        self, step: str, arrays: Any, expected: Sequence[Expected], *, rows: int | None
    ) -> Arrays:
        if not isinstance(arrays, dict) or len(arrays) != len(expected):
            raise self._failed(step, f"returned {_names(arrays)}; {_names(expected)} expected")
        for spec in expected:
            name = spec.name
            array = arrays.get(name)
            if not isinstance(array, np.ndarray):
                raise self._failed(step, f"returned no array {name!r}, but {_names(arrays)}")
            fault = _fault(array, spec, rows)
            if fault is not None:
                raise self._failed(step, f"returned {name!r} {fault}")
            if not array.flags.c_contiguous:
                arrays[name] = np.ascontiguousarray(array)
        return arrays

    def _failed(self, step: str, what: str) -> LanewayError:
        return TransformFailedError(f"{step} of model {self._model!r} {what}")


class Around:
    """A transform around the runs of one model version."""

    __slots__ = ("_batched", "_fetch", "_inputs", "_outputs", "_transform")

    def __init__(self, transform: Transform, version: ModelVersion) -> None:
        self._transform = transform
        self._inputs = [expected_of(spec) for spec in version.graph_inputs]
        self._outputs = [expected_of(spec) for spec in version.outputs]
        self._fetch = _named(version, renamed=transform.postprocess is None)
        first = version.inputs[0]
        self._batched = first.name if first.shape and first.shape[0] < 0 else None

    def rows_of(self, arrays: Arrays) -> int | None:
        """The rows of a request; None for a model that has none."""
        return None if self._batched is None else len(arrays[self._batched])

    def feeds_of(self, arrays: Arrays) -> Arrays:
        """The graph's inputs made of the public ones. Raises what `Transform.before` raises."""
        return self._transform.before(arrays, self._inputs)

    def public_of(
        self, results: Sequence[NDArray[Any]], feeds: Arrays, *, rows: int | None
    ) -> Arrays:
        """The public outputs made of all of the graph's; `rows`: what `rows_of` gave for the request."""
        outputs = dict(zip(self._fetch, results))  # noqa: B905  all that are fetched
        return self._transform.after(outputs, feeds, self._outputs, rows=rows)


def _named(version: ModelVersion, *, renamed: bool) -> list[str]:
    """Under which names a transform gets or gives what is fetched.

    `renamed`: outputs that the declaration does not know get the names there that are left, in their order.
    """
    graph = [output.name for output in version.graph_outputs]
    public = [output.name for output in version.outputs]
    if not renamed or len(graph) != len(public):
        return graph
    left = (name for name in public if name not in graph)
    return [name if name in public else next(left, name) for name in graph]


def load_transform(path: Path, *, model: str) -> Transform:
    """The transform at `path`, imported once a process, and again if the file has changed.

    Raises TransformFailedError when it is missing or cannot be imported.
    """
    try:
        changed_ns = path.stat().st_mtime_ns
    except OSError as error:
        raise TransformFailedError(f"transform.py of model {model!r} is missing") from error
    digest = hashlib.sha256(f"{path.resolve()} {changed_ns}".encode()).hexdigest()[:12]
    name = f"laneway_transform_{digest}"
    module = sys.modules.get(name)
    return Transform(module or _import(path, name, model), model=model)


def _import(path: Path, name: str, model: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TransformFailedError(f"transform.py of model {model!r} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: dataclasses and pickle look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise TransformFailedError(
            f"transform.py of model {model!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    return module


def _fault(array: NDArray[Any], spec: Expected, rows: int | None) -> str | None:
    """What an array has wrong against its declaration, or None."""
    dtype, came = spec.dtype, array.dtype
    if came is not dtype and came != dtype and not (spec.datatype == "BYTES" and came.kind in "US"):
        return f"as {came}; {spec.datatype} is {dtype}"
    shape = array.shape
    if not _fits(shape, spec.shape):
        return f"in shape {list(shape)}; {list(spec.shape)} is declared"
    if rows is not None and shape and spec.shape[0] < 0 and shape[0] != rows:
        return f"with {shape[0]} rows for a request of {rows}; a transform keeps the row count"
    return None


def _fits(shape: tuple[int, ...], declared: Sequence[int]) -> bool:
    if len(shape) != len(declared):
        return False
    for want, got in zip(declared, shape):  # noqa: SIM110, B905  compared above; a generator takes as long again
        if want != got and want >= 0:
            return False
    return True


def _names(tensors: Any) -> str:
    if isinstance(tensors, dict):
        return ", ".join(repr(name) for name in tensors) or "nothing"
    if isinstance(tensors, (list, tuple)) and all(hasattr(item, "name") for item in tensors):
        return ", ".join(repr(item.name) for item in tensors)
    return type(tensors).__name__
