"""Whether a tensor holds NaN or an infinity: a cheap answer for the usual case, an exact one else."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FLOATS: Final = frozenset({"FP16", "FP32", "FP64", "BF16"})
"""Datatypes that can hold NaN and infinities."""
SMALL: Final = 4096
"""Up to this many elements one dot product costs less than an array of answers."""
BF16_EXPONENT: Final = 0x7F80


def all_finite(array: NDArray[Any], datatype: str) -> bool:
    """Whether every element of `array`, any shape, is finite. Only for floating datatypes.

    NaN and infinities survive a sum of squares. So may an overflow: only then, and for large
    arrays, each element is looked at. Unlike `sum` and `dot`, `vdot` raises no floating point
    warnings (numpy 2.4; the tests turn warnings into errors).
    """
    if (
        array.size <= SMALL
        and datatype in ("FP32", "FP64")
        and isfinite(np.vdot(array, array).item())
    ):
        return True
    return bool(finite_mask(array, datatype).all())


def finite_mask(array: NDArray[Any], datatype: str) -> NDArray[np.bool_]:
    """Which elements are finite, in the shape of `array`."""
    if datatype == "BF16":
        return np.asarray((array & BF16_EXPONENT) != BF16_EXPONENT)
    return np.asarray(np.isfinite(array))


def first_non_finite(array: NDArray[Any], datatype: str) -> int:
    """Row-major index of the first element that is not finite; there must be one."""
    return int(finite_mask(array, datatype).reshape(-1).argmin())


def first_overflow(result: NDArray[Any], source: Sequence[Any]) -> int:
    """Position of the first element of `source` that is finite but became infinite, else -1."""
    wide = np.array([float(value) for value in source], np.float64)
    overflown = np.isfinite(wide) & ~np.isfinite(result.reshape(-1))
    return int(overflown.argmax()) if overflown.any() else -1
