"""Tensors as the client holds them: a datatype, a shape, and values or the protocol's own bytes.

Numpy is the caller's, not ours: it is loaded when arrays are passed in or asked for.

Binary form, all datatypes: little-endian, row-major, unpadded; a BYTES element is its length as
uint32 and its bytes.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from cli.client.errors import InputError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# datatype -> (struct code of one element, numpy dtype)
FIXED: Final[dict[str, tuple[str, str]]] = {
    "BOOL": ("?", "?"),
    "UINT8": ("B", "u1"),
    "UINT16": ("H", "<u2"),
    "UINT32": ("I", "<u4"),
    "UINT64": ("Q", "<u8"),
    "INT8": ("b", "i1"),
    "INT16": ("h", "<i2"),
    "INT32": ("i", "<i4"),
    "INT64": ("q", "<i8"),
    "FP16": ("e", "<f2"),
    "FP32": ("f", "<f4"),
    "FP64": ("d", "<f8"),
}
BINARY_ONLY: Final = frozenset({"FP16", "BF16"})
_BY_DTYPE: Final = {dtype.lstrip("<"): datatype for datatype, (_, dtype) in FIXED.items()} | {
    "b1": "BOOL"
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor. `data` is a flat list of values, or bytes in the protocol's binary form."""

    datatype: str
    shape: tuple[int, ...]
    data: list[Any] | bytes

    @classmethod
    def of(cls, datatype: str, values: Any) -> Tensor:
        """A tensor from nested lists (or one value, shape `()`); ragged lists are refused."""
        shape = _shape_of(values)
        return cls(datatype, shape, list(_flatten(values, shape, ())))

    def flat(self) -> list[Any]:
        """The values in row-major order; BYTES elements are `bytes` when they came in binary."""
        if isinstance(self.data, list):
            return self.data
        if self.datatype == "BYTES":
            return list(_split_bytes(self.data))
        if self.datatype == "BF16":
            halves = struct.unpack(f"<{len(self.data) // 2}H", self.data)
            return [struct.unpack("<f", struct.pack("<I", half << 16))[0] for half in halves]
        return [value for (value,) in struct.iter_unpack("<" + FIXED[self.datatype][0], self.data)]

    def tolist(self) -> Any:
        """The values as lists nested like `shape`; one bare value for shape `()`."""
        flat = self.flat()
        if math.prod(self.shape) != len(flat):
            raise ProtocolError(f"a tensor of shape {list(self.shape)} has {len(flat)} values")
        return _nest(flat, self.shape)

    def numpy(self) -> Any:
        """A numpy array of shape `shape`; BYTES become an object array, BF16 needs ml_dtypes."""
        np = import_module("numpy")
        if self.datatype == "BF16":
            bfloat16 = import_module("ml_dtypes").bfloat16
            return np.frombuffer(self.packed(), dtype=bfloat16).reshape(self.shape)
        if self.datatype == "BYTES":
            array = np.empty(math.prod(self.shape), dtype=object)
            array[:] = self.flat()
            return array.reshape(self.shape)
        dtype = FIXED[self.datatype][1]
        if isinstance(self.data, bytes):
            return np.frombuffer(self.data, dtype=dtype).reshape(self.shape)
        return np.array(self.data, dtype=dtype).reshape(self.shape)

    def packed(self) -> bytes:
        """The protocol's binary form. `InputError` names a value that does not fit the datatype."""
        if isinstance(self.data, bytes):
            return self.data
        if self.datatype == "BYTES":
            return b"".join(_length_prefixed(value) for value in self.data)
        if self.datatype not in FIXED:
            raise InputError(
                f"{self.datatype} cannot be packed from a list; pass a numpy array of that dtype"
            )
        if self.datatype == "BOOL" and not all(value in (0, 1) for value in self.data):
            raise InputError("a BOOL value must be true or false")
        try:
            return struct.pack(f"<{len(self.data)}{FIXED[self.datatype][0]}", *self.data)
        except (struct.error, OverflowError) as error:
            raise InputError(f"a value does not fit {self.datatype}: {error}") from error


def is_array(value: Any) -> bool:
    """Whether `value` is an array (numpy, torch, pandas, ...) rather than lists or one value."""
    return hasattr(value, "__array__")


def from_array(value: Any) -> Tensor:
    """A tensor in binary form from an array of any shape; the dtype decides the datatype."""
    array = import_module("numpy").asarray(value)
    if array.dtype.name == "bfloat16":
        return Tensor("BF16", array.shape, array.tobytes())
    if array.dtype.kind in "SUO":
        return Tensor("BYTES", array.shape, Tensor("BYTES", (), array.ravel().tolist()).packed())
    datatype = _BY_DTYPE.get(array.dtype.str[1:])
    if datatype is None:
        raise InputError(f"the protocol has no datatype for arrays of {array.dtype}")
    return Tensor(datatype, array.shape, array.astype(FIXED[datatype][1], copy=False).tobytes())


def _shape_of(values: Any) -> tuple[int, ...]:
    shape: list[int] = []
    while isinstance(values, list | tuple):
        shape.append(len(values))
        if not values:
            break
        values = values[0]
    return tuple(shape)


def _flatten(values: Any, shape: Sequence[int], place: tuple[int, ...]) -> Iterator[Any]:
    if not shape:
        if isinstance(values, list | tuple):
            raise InputError(
                f"ragged list: a list at {list(place)} where its neighbours are values"
            )
        yield values
        return
    if not isinstance(values, list | tuple) or len(values) != shape[0]:
        found = len(values) if isinstance(values, list | tuple) else "no list"
        raise InputError(f"ragged list: {found} elements at {list(place)}, expected {shape[0]}")
    for index, value in enumerate(values):
        yield from _flatten(value, shape[1:], (*place, index))


def _nest(flat: list[Any], shape: Sequence[int]) -> Any:
    if not shape:
        return flat[0]
    step = math.prod(shape[1:])
    rows = range(shape[0])
    return [_nest(flat[row * step : (row + 1) * step], shape[1:]) for row in rows]


def _length_prefixed(value: Any) -> bytes:
    if isinstance(value, str):
        value = value.encode()
    if not isinstance(value, bytes | bytearray):
        raise InputError(f"a BYTES element must be str or bytes, not {type(value).__name__}")
    return struct.pack("<I", len(value)) + value


def _split_bytes(data: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(data):
        size = int.from_bytes(data[start : start + 4], "little")
        end = start + 4 + size
        if end > len(data):
            raise ProtocolError(f"a BYTES tensor ends inside an element at byte {start}")
        yield data[start + 4 : end]
        start = end
