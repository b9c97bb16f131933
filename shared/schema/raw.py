"""Raw binary requests: a body that is nothing but the data of a model's one input.

The caller announces it with `Inference-Header-Content-Length: 0`. It is turned into the ordinary
form here, so that nothing after the wire knows of it.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any, Final

from shared.errors import SignatureError
from shared.schema.datatypes import DATATYPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.schema.examples import DescribedTensor

_LENGTH: Final = struct.Struct("<I")
_DYNAMIC: Final = -1


def raw_request(
    inputs: Sequence[DescribedTensor], tail: memoryview
) -> tuple[dict[str, Any], memoryview]:
    """The JSON part and the tail that the raw body stands for; all outputs are asked for in binary.

    The one dynamic dimension follows from the number of bytes, and a dynamic dimension before it
    is a batch of 1. A BYTES input takes the whole body as its single element. Raises SignatureError.
    """
    if len(inputs) != 1:
        raise SignatureError(
            f"a raw binary request needs a model with one input; this one has {len(inputs)}; "
            "send the inputs in JSON or with binary_data_size"
        )
    declared = inputs[0]
    size_bytes = DATATYPES[declared.datatype].size_bytes
    if size_bytes is None:
        tail = memoryview(_LENGTH.pack(len(tail)) + bytes(tail))
        shape = _single_element(declared)
    else:
        shape = _solved(declared, size_bytes, len(tail))
    tensor = {
        "name": declared.name,
        "datatype": declared.datatype,
        "shape": shape,
        "parameters": {"binary_data_size": len(tail)},
    }
    return {"inputs": [tensor], "parameters": {"binary_data_output": True}}, tail


def _single_element(declared: DescribedTensor) -> list[int]:
    shape = [1 if size == _DYNAMIC else size for size in declared.shape]
    if math.prod(shape) != 1:
        raise SignatureError(
            f"a raw binary request carries one element, but input {declared.name!r} takes "
            f"{math.prod(shape)}",
            field=declared.name,
        )
    return shape


def _solved(declared: DescribedTensor, size_bytes: int, body_bytes: int) -> list[int]:
    shape = list(declared.shape)
    dynamic = [axis for axis, size in enumerate(shape) if size == _DYNAMIC]
    if len(dynamic) > 1 and dynamic[0] == 0:
        shape[dynamic.pop(0)] = 1
    if len(dynamic) > 1:
        raise SignatureError(
            f"the shape {list(declared.shape)} of input {declared.name!r} does not follow from a "
            "raw binary request's size; send the shape in JSON",
            field=declared.name,
        )
    row_bytes = size_bytes * math.prod(size for size in shape if size != _DYNAMIC)
    if dynamic:
        shape[dynamic[0]] = body_bytes // row_bytes if row_bytes else 0
    if size_bytes * math.prod(shape) != body_bytes:
        raise SignatureError(
            f"input {declared.name!r} of shape {list(declared.shape)} takes "
            f"{'a multiple of ' if dynamic else ''}{row_bytes} bytes; {body_bytes} came",
            field=declared.name,
        )
    return shape
