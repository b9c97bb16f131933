"""Input tensors of the wire to numpy arrays, strictly: what does not fit is refused, not coerced.

A binary tensor becomes an array over the bytes of the body, without a copy where they are aligned
for its datatype. JSON numbers are written by `struct`, which takes a list in one pass, keeps
64-bit integers exact and refuses strings, null and what is out of range; fractions too where
integers are meant; in half the time of `array.array`. It takes true and false for 1 and 0, so a
list that begins with one is looked for; numpy's own reading (`np.array`) would also parse strings
as numbers.
"""

from __future__ import annotations

from array import array as strict_array
from math import isfinite
from struct import Struct
from struct import error as StructError  # noqa: N812  an exception, which the standard library writes small
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np
from numpy import ndarray

from shared.errors import SignatureError
from shared.inference import refusals
from shared.inference.datatypes import ARRAY_TYPES
from shared.inference.finite import FLOATS, all_finite, first_non_finite, first_overflow
from shared.inference.layout import flatten, objects, raw_shape, split_elements
from shared.limits import BYTES_ELEMENT_BYTES, TENSOR_BYTES_MAX, TENSOR_ELEMENTS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from shared.catalog import TensorSpec
    from shared.schema.tensor import InputTensor

SHAPES_KEPT: Final = 64
"""Shapes that were checked once and are not checked again; callers use few."""
SUMMED_MAX: Final = 64
"""Up to so many elements, adding them up is the fastest way to find NaN or an infinity."""
_WORDS: Final = {"BOOL": bool, "BYTES": str}


class InputCodec:
    """Decodes one of a model's inputs. Made once, when the model is loaded."""

    __slots__ = (
        "_check_finite",
        "_dtype",
        "_elements_max",
        "_kind",
        "_packers",
        "_sizes_max",
        "_text",
        "_typecode",
        "allow_non_finite",
        "counts",
        "datatype",
        "name",
        "plain",
        "spec",
    )

    def __init__(
        self,
        spec: TensorSpec,
        *,
        text: bool,
        allow_non_finite: bool,
        sizes_max: Mapping[int, int] | None = None,
    ) -> None:
        """`text`: BYTES become str (for a graph) instead of bytes (for a transform).

        `sizes_max`: by dimension, what the model's outputs allow (`growth.sizes_allowed`).
        """
        self._sizes_max = tuple((sizes_max or {}).items())
        self.spec = spec
        self.name = spec.name
        self.allow_non_finite = allow_non_finite
        self._kind = ARRAY_TYPES[spec.datatype]
        self.datatype = spec.datatype
        self._dtype = self._kind.dtype
        self._typecode = self._kind.typecode
        self._text = text
        self._check_finite = spec.datatype in FLOATS
        is_text = spec.datatype == "BYTES"
        item_bytes = BYTES_ELEMENT_BYTES if is_text else self._kind.item_bytes
        self._elements_max = min(TENSOR_ELEMENTS_MAX, TENSOR_BYTES_MAX // item_bytes)
        self.counts: dict[tuple[int, ...], int] = {}
        """Elements of shapes that were checked against the signature."""
        self._packers: dict[int, Struct] = {}
        """By number of elements."""
        self.plain: Callable[[list[Any], Sequence[int], int], NDArray[Any] | None] = (
            self._words if self._typecode is None else self._numbers
        )
        """The array of a flat list of JSON values, its shape and their number, at least one; None where one of
        them is odd."""

    def decode(self, tensor: InputTensor, part: memoryview | None, index: int) -> NDArray[Any]:
        """The array of input number `index`, in its shape, from `part` where it came binary.

        Raises SignatureError or NonFiniteInputError.
        """
        if tensor.datatype != self.datatype:
            raise SignatureError(
                f"input {self.spec.name!r} came as {tensor.datatype}; the model takes "
                f"{self.datatype}",
                field=f"inputs[{index}].datatype",
            )
        shape = tensor.shape
        count = self.counts.get(shape)
        if count is None:
            count = self._count(shape, index)
            if len(self.counts) < SHAPES_KEPT:
                self.counts[shape] = count
        if part is not None:
            return self._from_bytes(part, shape, count, index)
        data = tensor.data
        if data.__class__ is not list or not data or data[0].__class__ is list:
            data = self._flat(data, shape, index)
        if len(data) != count:
            refusals.wrong_count(self.spec.name, index, shape, count, len(data))
        if not count:
            return np.empty(shape, self._kind.dtype)
        result = self.plain(data, shape, count)
        if result is not None:
            return result
        if self._typecode is None:
            self._refuse_words(data, index)
        return self._from_odd_numbers(data, shape, index)

    def _count(self, shape: Sequence[int], index: int) -> int:
        """Elements of `shape`, checked against the signature; exact, since Python's integers are."""
        expected = self.spec.shape
        if len(shape) != len(expected):
            refusals.wrong_rank(self.spec.name, index, expected, shape)
        count = 1
        for want, got in zip(expected, shape):  # noqa: B905  the lengths are compared above
            if got < 0 or (want != got and want >= 0):
                refusals.wrong_dimension(self.spec.name, index, expected, shape)
            count *= got
        for axis, most in self._sizes_max:
            if shape[axis] > most:
                raise refusals.outputs_too_large(self.spec.name, axis, shape[axis], most)
        if count > self._elements_max or (not count and max(shape) > self._elements_max):
            refusals.too_many_elements(self.spec.name, index, shape, count, self._elements_max)
        return count

    def _flat(self, data: Any, shape: Sequence[int], index: int) -> list[Any]:
        if data.__class__ is not list:
            if shape or isinstance(data, dict):
                refusals.ragged(self.spec.name, index, "", shape[0] if shape else None, data)
            return [data]
        return flatten(data, shape, name=self.spec.name, index=index) if data else data

    def _numbers(self, flat: list[Any], shape: Sequence[int], count: int) -> NDArray[Any] | None:
        packer = self._packers.get(count) or self._packer(count)
        try:
            memory = bytearray(packer.pack(*flat))  # which a transform may write to
        except (StructError, OverflowError):
            return None
        if flat[0].__class__ is bool:
            return None
        result: NDArray[Any] = ndarray(shape, self._dtype, memory)
        if self._check_finite and not (
            isfinite(sum(flat, 0.0)) if count <= SUMMED_MAX else all_finite(result, self.datatype)
        ):
            return None
        return result

    def _packer(self, count: int) -> Struct:
        packer = Struct(f"<{count}{self._typecode}")
        if len(self._packers) < SHAPES_KEPT:
            self._packers[count] = packer
        return packer

    def _from_odd_numbers(self, flat: list[Any], shape: Sequence[int], index: int) -> NDArray[Any]:
        """What `plain` gave None for: refused, unless it is NaN or an infinity that the model takes."""
        try:
            numbers = strict_array(self._typecode, flat)  # type: ignore[arg-type]  # None was told apart
        except (TypeError, OverflowError):
            refusals.bad_element(self.spec.name, index, self._kind, flat)
        if flat[0].__class__ is bool:
            refusals.bad_element(self.spec.name, index, self._kind, flat)
        result: NDArray[Any] = ndarray(shape, self._dtype, numbers)
        self._refuse_non_finite(result, index, flat)
        return result

    def _words(self, flat: list[Any], shape: Sequence[int], _count: int) -> NDArray[Any] | None:
        """BOOL and BYTES, whose JSON is not numbers."""
        if set(map(type, flat)) != {_WORDS.get(self.datatype)}:
            return None
        if self.datatype == "BOOL":
            return np.array(flat, np.bool_).reshape(shape)
        try:
            encoded = [text.encode() for text in flat]
        except UnicodeEncodeError:
            return None
        return objects(flat if self._text else encoded, shape)

    def _refuse_words(self, flat: list[Any], index: int) -> NoReturn:
        """BOOL and BYTES with an odd element; FP16 and BF16, which have no JSON form."""
        kind = self._kind
        if not kind.json:
            raise SignatureError(
                f"input {self.spec.name!r}: {kind.datatype} travels as binary data only; "
                "send it with parameters.binary_data_size",
                field=f"inputs[{index}].data",
            )
        refusals.bad_element(self.spec.name, index, kind, flat)

    def _from_bytes(
        self, part: memoryview, shape: Sequence[int], count: int, index: int
    ) -> NDArray[Any]:
        """`part`: little-endian, row-major, unpadded. The array lies over its memory if aligned."""
        kind = self._kind
        if kind.datatype == "BYTES":
            return self._from_elements(part, shape, count, index)
        if len(part) != count * kind.item_bytes:
            refusals.wrong_size(self.spec.name, index, shape, count * kind.item_bytes, len(part))
        if not count:
            return np.empty(shape, kind.dtype)
        result: NDArray[Any] = np.frombuffer(part, kind.dtype).reshape(shape)
        if not result.flags.aligned:
            # Compiled kernels may assume a datatype's natural alignment; JSON has any length.
            result = result.copy()
        if self._check_finite:
            if not self.allow_non_finite and not all_finite(result, kind.datatype):
                self._refuse_non_finite(result, index, None)
        elif kind.datatype == "BOOL" and result.view(np.uint8).max() > 1:
            raise SignatureError(
                f"input {self.spec.name!r}: a BOOL element is one byte, 0 or 1",
                field=f"inputs[{index}]",
            )
        return result

    def _from_elements(
        self, part: memoryview, shape: Sequence[int], count: int, index: int
    ) -> NDArray[Any]:
        elements = split_elements(part, count, name=self.spec.name, index=index)
        return objects(self._as_text(elements, index) if self._text else elements, shape)

    def _as_text(self, elements: list[bytes], index: int) -> list[str]:
        texts = []
        for position, element in enumerate(elements):
            try:
                texts.append(element.decode())
            except UnicodeDecodeError as error:
                raise SignatureError(
                    f"input {self.spec.name!r}: element {position} is not UTF-8 at byte "
                    f"{error.start}; the model takes text",
                    field=f"inputs[{index}]",
                ) from error
        return texts

    def _refuse_non_finite(
        self, result: NDArray[Any], index: int, source: list[Any] | None
    ) -> None:
        """JSON that a datatype cannot hold is refused even where the model allows infinities."""
        if all_finite(result, self.spec.datatype):
            return  # only their sum was not
        position = first_non_finite(result, self.spec.datatype)
        if self.allow_non_finite and source is not None:
            position = first_overflow(result, source)
            if position < 0:
                return
        value = None if source is None else source[position]
        raise refusals.non_finite(self.spec.name, index, position, value)

    def decode_raw(self, body: memoryview) -> NDArray[Any]:
        """The one input of a raw binary request, which names no shape.

        The batch is 1 where another dimension is open; one open dimension follows from the size.
        BYTES: the body is the one element.
        """
        shape = raw_shape(self.spec, len(body), self._kind.item_bytes)
        if self.spec.datatype != "BYTES":
            return self._from_bytes(body, shape, self._count(shape, 0), 0)
        element = [bytes(body)]
        return objects(self._as_text(element, 0) if self._text else element, shape)
