"""Pads requests of one model to one size, as its model.toml declares, and cuts their outputs back.

What may be padded are the open dimensions behind the first of the inputs that have a filler. They are
told apart by the names that the graph gives them: an output's dimension of the same name is as
long as the input's, so it is cut to the length that the request had before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from shared.catalog import TensorSpec
from shared.errors import ModelRunError
from shared.inference.datatypes import ARRAY_TYPES

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from shared.catalog import ModelVersion
    from shared.inference.session import ModelSession

    Feeds = Mapping[str, NDArray[Any]]

Sizes = tuple[int, ...]
"""Of a request: the length of each padded dimension, in the order in which the graph names them."""
ALIKE_UP_TO: Final = 16
"""Lengths up to this stack with each other: their filler costs less than a run of the model."""


class PaddingRefusedError(ValueError):
    """The graph cannot be padded as its model.toml declares; says what is in the way."""


class Padding:
    """The padding of one model version, whose `pad` is not empty.

    Raises PaddingRefusedError where a dimension cannot be padded, or cannot be cut off again.
    """

    def __init__(self, version: ModelVersion, session: ModelSession) -> None:
        self._inputs = version.graph_inputs
        self._symbols = session.symbols
        self._fillers = {
            spec.name: _filler(version.pad[spec.name], spec.datatype)
            for spec in self._inputs
            if spec.name in version.pad
        }
        self._numbers: dict[Hashable, int] = {}
        self._padded = {
            spec.name: [(axis, self._number(spec, axis)) for axis in _open_axes(spec)]
            for spec in self._inputs
            if spec.name in self._fillers
        }
        self._refuse_loose_inputs()
        self._cuts = {
            spec.name: [
                (axis, self._number_of_output(spec, axis, session.output_symbols[spec.name]))
                for axis in _open_axes(spec)
            ]
            for spec in version.graph_outputs
        }

    @property
    def count(self) -> int:
        """How many lengths a request has."""
        return len(self._numbers)

    def resized(self, inputs: Sequence[TensorSpec], sizes: Sequence[int]) -> tuple[TensorSpec, ...]:
        """The inputs with these lengths in place of the open ones that are padded."""
        made = []
        for spec in inputs:
            shape = list(spec.shape)
            for axis, number in self._padded.get(spec.name, ()):
                shape[axis] = sizes[number]
            made.append(TensorSpec(spec.name, spec.datatype, tuple(shape)))
        return tuple(made)

    def sizes(self, feeds: Feeds) -> Sizes | None:
        """The request's own lengths; None where it cannot be padded: its inputs disagree, or one is empty."""
        found: dict[int, int] = {}
        for name, axes in self._padded.items():
            shape = feeds[name].shape
            for axis, number in axes:
                if not shape[axis] or found.setdefault(number, shape[axis]) != shape[axis]:
                    return None
        return tuple(found[number] for number in range(len(found)))

    def kind(self, feeds: Feeds) -> Hashable | None:
        """What requests that are padded to one size have in common, or None; see `sizes`.

        The longest is never more than 1.5 times the shortest, once that would cost.
        """
        sizes = self.sizes(feeds)
        if sizes is None:
            return None
        return tuple(map(_step, sizes)), tuple(
            self._fixed(spec.name, feeds[spec.name]) for spec in self._inputs
        )

    def join(self, parts: Sequence[Feeds]) -> tuple[dict[str, NDArray[Any]], list[Sizes]]:
        """One run's feeds of several requests of one kind, and the lengths of each request.

        Each input has shape `(rows of all, ...)`, padded to the longest.
        """
        sizes = [self.sizes(part) or () for part in parts]
        longest = _longest(sizes)
        feeds = {}
        for spec in self._inputs:
            arrays = [part[spec.name] for part in parts]
            shape = list(arrays[0].shape)
            for axis, number in self._padded.get(spec.name, ()):
                shape[axis] = longest[number]
            if all(array.shape[1:] == tuple(shape[1:]) for array in arrays):
                feeds[spec.name] = np.concatenate(arrays)
            else:
                feeds[spec.name] = _filled(arrays, shape, self._fillers[spec.name])
        return feeds, sizes

    def check(self, name: str, output: NDArray[Any], sizes: Sequence[Sizes]) -> None:
        """Raises ModelRunError for an output of a padded run that is not as long as its inputs."""
        longest = _longest(sizes)
        shape = output.shape
        if any(
            axis >= len(shape) or shape[axis] != longest[number]
            for axis, number in self._cuts[name]
        ):
            raise ModelRunError(f"output {name!r} is not as long as the inputs that were padded")

    def cut(self, name: str, rows: NDArray[Any], sizes: Sizes) -> NDArray[Any]:
        """What a request of these lengths would have got alone. `rows`: shape `(rows, ...)`."""
        cuts = self._cuts[name]
        if all(rows.shape[axis] == sizes[number] for axis, number in cuts):
            return rows
        index = [slice(None)] * rows.ndim
        for axis, number in cuts:
            index[axis] = slice(sizes[number])
        return np.ascontiguousarray(rows[tuple(index)])

    def _fixed(self, name: str, array: NDArray[Any]) -> Hashable:
        """What must agree of one input: its datatype, and its shape without rows and padded lengths."""
        padded = {axis for axis, _ in self._padded.get(name, ())}
        shape = tuple(-1 if axis in padded else size for axis, size in enumerate(array.shape))
        return name, array.dtype, shape[1:]

    def _number(self, spec: TensorSpec, axis: int) -> int:
        symbol = self._symbols[spec.name][axis]
        if isinstance(symbol, str) and symbol in self._batch_symbols():
            raise PaddingRefusedError(
                f"dimension {axis} of input {spec.name!r} is {symbol!r} like its rows, which are not padded"
            )
        name = symbol if isinstance(symbol, str) else (spec.name, axis)
        return self._numbers.setdefault(name, len(self._numbers))

    def _number_of_output(self, spec: TensorSpec, axis: int, symbols: Sequence[Any]) -> int:
        symbol = symbols[axis] if axis < len(symbols) else None
        number = self._numbers.get(symbol)
        if number is None:
            named = ", ".join(repr(name) for name in self._numbers if isinstance(name, str))
            raise PaddingRefusedError(
                f"dimension {axis} of output {spec.name!r} is open and named {symbol!r}, and no "
                f"padded input has one of this name ({named or 'theirs have no names'}), so it is "
                "not known where to cut it; export the model with one name for both, or remove pad"
            )
        return number

    def _refuse_loose_inputs(self) -> None:
        for spec in self._inputs:
            for axis in _open_axes(spec) if spec.name not in self._fillers else ():
                symbol = self._symbols[spec.name][axis]
                if isinstance(symbol, str) and symbol in self._numbers:
                    raise PaddingRefusedError(
                        f"dimension {axis} of input {spec.name!r} is {symbol!r}, which is padded in "
                        "another input; give this input a filler too"
                    )

    def _batch_symbols(self) -> Iterator[Any]:
        return (self._symbols[spec.name][0] for spec in self._inputs if spec.shape)


def _open_axes(spec: TensorSpec) -> list[int]:
    return [axis for axis, size in enumerate(spec.shape) if axis and size < 0]


def _step(size: int) -> tuple[int, int]:
    """Lengths up to 16, 24, 32, 48, 64, 96 and so on are one step each."""
    last = max(size, ALIKE_UP_TO) - 1
    shift = last.bit_length() - 2
    return shift, last >> shift


def _filler(value: float, datatype: str) -> NDArray[Any]:
    """An array of no dimensions, of the graph's type."""
    if datatype == "BF16":  # travels as its bits, which are the upper half of an FP32's
        return (np.asarray(value, np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return np.asarray(value).astype(ARRAY_TYPES[datatype].dtype)


def _longest(sizes: Sequence[Sizes]) -> Sizes:
    return tuple(map(max, zip(*sizes, strict=True)))


def _filled(
    arrays: Sequence[NDArray[Any]], shape: Sequence[int], filler: NDArray[Any]
) -> NDArray[Any]:
    """The arrays behind each other, each at the beginning of its rows."""
    rows = sum(map(len, arrays))
    whole: NDArray[Any] = np.full((rows, *shape[1:]), filler, arrays[0].dtype)
    start = 0
    for array in arrays:
        end = start + len(array)
        whole[(slice(start, end), *map(slice, array.shape[1:]))] = array
        start = end
    return whole
