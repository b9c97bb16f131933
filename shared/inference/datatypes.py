"""The protocol's datatypes as numpy and `array` know them: one row each.

numpy has no bfloat16: BF16 is carried as its bit pattern in uint16.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from shared.schema.datatypes import DATATYPES

if TYPE_CHECKING:
    from collections.abc import Mapping

POINTER_BYTES: Final = 8
"""What an element of an object array takes beside the object itself."""


@dataclass(frozen=True, slots=True)
class ArrayType:
    """How the elements of one datatype lie in memory."""

    datatype: str
    dtype: np.dtype[Any]
    """Object for BYTES."""
    typecode: str | None
    """Of `array.array`, which reads a list of JSON numbers strictly; None where no number is meant."""
    json: bool
    """Whether it may travel as JSON."""
    item_bytes: int
    integer_range: tuple[int, int] | None
    """Smallest and largest value, for integers."""


def _row(datatype: str, numpy_name: str, typecode: str | None = None) -> tuple[str, ArrayType]:
    dtype = np.dtype(numpy_name)
    bounds = np.iinfo(dtype) if dtype.kind in "iu" and typecode else None
    row = ArrayType(
        datatype=datatype,
        dtype=dtype,
        typecode=typecode,
        json=DATATYPES[datatype].json,
        item_bytes=DATATYPES[datatype].size_bytes or POINTER_BYTES,
        integer_range=(int(bounds.min), int(bounds.max)) if bounds else None,
    )
    return datatype, row


ARRAY_TYPES: Final[Mapping[str, ArrayType]] = MappingProxyType(
    dict(
        (
            _row("BOOL", "?"),
            _row("UINT8", "u1", "B"),
            _row("UINT16", "<u2", "H"),
            _row("UINT32", "<u4", "I"),
            _row("UINT64", "<u8", "Q"),
            _row("INT8", "i1", "b"),
            _row("INT16", "<i2", "h"),
            _row("INT32", "<i4", "i"),
            _row("INT64", "<i8", "q"),
            _row("FP16", "<f2"),
            _row("FP32", "<f4", "f"),
            _row("FP64", "<f8", "d"),
            _row("BF16", "<u2"),
            _row("BYTES", "O"),
        )
    )
)
"""Every datatype by its name on the wire."""
