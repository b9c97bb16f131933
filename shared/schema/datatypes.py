"""The datatypes of the Open Inference Protocol: one table that every other module looks things up in.

It knows nothing of arrays; `shared.inference.codec` maps the names to numpy's types.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

Datatype = Literal[
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
    "BF16",
    "BYTES",
]
"""BF16 is Triton's extension of the protocol's own list."""

DATATYPE_NAMES: Final[tuple[Datatype, ...]] = get_args(Datatype)


@dataclass(frozen=True, slots=True)
class DatatypeInfo:
    """What the wire and the graph need to know of one datatype."""

    name: Datatype
    size_bytes: int | None
    """Bytes of one element in the binary form; None for BYTES, whose elements carry their length."""
    json: bool
    """Whether it may travel as JSON. FP16 and BF16 may not, as in Triton."""
    onnx: str
    """The type string that onnxruntime reports for an input or output of this datatype."""


def _row(
    name: Datatype, size_bytes: int | None, onnx: str, *, json: bool = True
) -> tuple[Datatype, DatatypeInfo]:
    return name, DatatypeInfo(name=name, size_bytes=size_bytes, json=json, onnx=f"tensor({onnx})")


DATATYPES: Final[Mapping[str, DatatypeInfo]] = MappingProxyType(
    dict(
        (
            _row("BOOL", 1, "bool"),
            _row("UINT8", 1, "uint8"),
            _row("UINT16", 2, "uint16"),
            _row("UINT32", 4, "uint32"),
            _row("UINT64", 8, "uint64"),
            _row("INT8", 1, "int8"),
            _row("INT16", 2, "int16"),
            _row("INT32", 4, "int32"),
            _row("INT64", 8, "int64"),
            _row("FP16", 2, "float16", json=False),
            _row("FP32", 4, "float"),
            _row("FP64", 8, "double"),
            _row("BF16", 2, "bfloat16", json=False),
            _row("BYTES", None, "string"),
        )
    )
)
"""Every datatype by its name on the wire."""

BY_ONNX_TYPE: Final[Mapping[str, DatatypeInfo]] = MappingProxyType(
    {info.onnx: info for info in DATATYPES.values()}
)
"""Every datatype by onnxruntime's type string, e.g. `tensor(float)`."""
