"""How a tensor's elements follow each other: nested lists, length-prefixed elements, a body without a shape."""

from __future__ import annotations

from itertools import chain
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.errors import InvalidRequestError, SignatureError
from shared.inference import refusals

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from shared.catalog import TensorSpec


def flatten(data: list[Any], shape: Sequence[int], *, name: str, index: int) -> list[Any]:
    """The leaves of `data`, nested exactly as `shape` says, in row-major order."""
    if len(data) != (shape[0] if shape else -1):
        refusals.ragged(name, index, "", shape[0] if shape else None, data)
    level = data
    for axis, size in enumerate(shape[1:], start=1):
        for position, item in enumerate(level):
            if item.__class__ is not list or len(item) != size:
                where = "".join(f"[{i}]" for i in np.unravel_index(position, shape[:axis]))
                refusals.ragged(name, index, where, size, item)
        level = list(chain.from_iterable(level))
    if level and level[0].__class__ is list:
        refusals.ragged(name, index, "[0]" * len(shape), None, level[0])
    return level


def split_elements(part: memoryview, count: int, *, name: str, index: int) -> list[bytes]:
    """BYTES in binary form: `count` times a little-endian uint32 length and that many bytes."""
    elements: list[bytes] = []
    start, end = 0, len(part)
    while start < end and len(elements) < count:
        stop = start + 4 + int.from_bytes(part[start : start + 4], "little")
        if stop > end:
            break
        elements.append(bytes(part[start + 4 : stop]))
        start = stop
    if start != end or len(elements) != count:
        raise SignatureError(
            f"input {name!r}: its {end} bytes should be {count} elements, each a 4-byte length "
            f"and as many bytes; {len(elements)} could be read, to byte {start}",
            field=f"inputs[{index}].parameters.binary_data_size",
        )
    return elements


def objects(values: Sequence[Any], shape: Sequence[int]) -> NDArray[np.object_]:
    """An object array of `values`, row-major in `shape`."""
    return np.fromiter(values, np.object_, len(values)).reshape(shape)


def raw_shape(spec: TensorSpec, size_bytes: int, item_bytes: int) -> list[int]:
    """The shape of a raw binary tensor of `size_bytes`, as the signature leaves it open."""
    if spec.datatype == "BYTES":
        if any(dimension not in (-1, 1) for dimension in spec.shape):
            raise _no_raw(f"its shape {list(spec.shape)} is more than one element")
        return [1] * len(spec.shape)
    shape = list(spec.shape)
    if shape.count(-1) > 1 and shape[0] == -1:
        shape[0] = 1
    if shape.count(-1) > 1:
        raise _no_raw(f"its shape {list(spec.shape)} leaves more than one dimension open")
    step_bytes = prod((dimension for dimension in shape if dimension >= 0), start=item_bytes)
    if -1 not in shape:
        if size_bytes != step_bytes:
            raise _no_fit(spec, size_bytes, f"it takes {step_bytes} bytes")
        return shape
    axis = shape.index(-1)
    shape[axis], left_over = divmod(size_bytes, step_bytes) if step_bytes else (0, size_bytes)
    if left_over:
        each = "row" if axis == 0 else f"step of dimension {axis}"
        sizes = f"{step_bytes}, {2 * step_bytes}, {3 * step_bytes} and so on" if step_bytes else 0
        raise _no_fit(spec, size_bytes, f"each {each} takes {step_bytes}, so send {sizes}")
    return shape


def _no_fit(spec: TensorSpec, size_bytes: int, wanted: str) -> SignatureError:
    return SignatureError(
        f"the raw body has {size_bytes} bytes and is to be input {spec.name!r}, {spec.datatype} of "
        f"shape {list(spec.shape)}: {wanted}",
        field="body",
    )


def _no_raw(why: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"a raw binary request (header length 0) cannot carry the model's input: {why}; "
        "send a JSON part that gives the shape"
    )


def join_elements(elements: Iterable[str | bytes]) -> bytes:
    """BYTES in binary form: each element behind its length as a little-endian uint32."""
    parts: list[bytes] = []
    for element in elements:
        encoded = element.encode() if isinstance(element, str) else element
        parts += (len(encoded).to_bytes(4, "little"), encoded)
    return b"".join(parts)
