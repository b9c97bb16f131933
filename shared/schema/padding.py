"""What a model may declare as filler: which inputs can be padded, and which values they can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

INTEGER_BITS: Final = {f"{u}INT{bits}": bits for u in ("", "U") for bits in (8, 16, 32, 64)}
FLOAT_MAX: Final = {
    "FP16": 65504.0,
    "BF16": 3.3895313892515355e38,
    "FP32": 3.4028234663852886e38,
    "FP64": 1.7976931348623157e308,
}
"""Largest finite value of each."""


class Tensor(Protocol):
    """An input, as a manifest declares it or as the graph does."""

    @property
    def name(self) -> str:
        """The graph's name."""

    @property
    def datatype(self) -> str:
        """The protocol's name."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes; negative where open."""


def padding_fault(pad: Mapping[str, float], inputs: Iterable[Tensor]) -> str | None:
    """Why a graph with these inputs cannot be padded as declared; None where it can."""
    known = {tensor.name: tensor for tensor in inputs}
    for name, filler in pad.items():
        tensor = known.get(name)
        if tensor is None:
            return f"the graph has no input {name!r}; its inputs are {', '.join(map(repr, known))}"
        if tensor.datatype == "BYTES":
            return f"input {name!r} is BYTES, and only numbers can be padded"
        if all(size >= 0 for size in tensor.shape[1:]):
            return (
                f"input {name!r} has shape {list(tensor.shape)}: no dimension behind the first is "
                "open, so there is nothing to pad"
            )
        if not holds(tensor.datatype, filler):
            return f"input {name!r} is {tensor.datatype}, which cannot hold the filler {filler!r}"
    return None


def holds(datatype: str, value: float) -> bool:
    """Whether the datatype has this value; a float may round it."""
    if datatype in FLOAT_MAX:
        return abs(value) <= FLOAT_MAX[datatype]
    if value != int(value):
        return False
    if datatype == "BOOL":
        return value in (0, 1)
    bits = INTEGER_BITS[datatype]
    low, high = (0, 2**bits) if datatype[0] == "U" else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    return bool(low <= int(value) < high)
