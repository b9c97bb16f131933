"""Why a tensor is refused, in the caller's terms: looked for once it is known to be wrong.

The codec reads data in bulk and knows only that something does not fit; nothing here is on the
path of a good request.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any, NoReturn

from shared.errors import LanewayError, NonFiniteInputError, SignatureError, TooLargeError
from shared.schema.refusals import describe

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from shared.inference.datatypes import ArrayType

_JSON_KINDS = {
    bool: "a boolean",
    int: "an integer",
    float: "a number with a fraction or exponent",
    str: "a string",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def unexpected_input(name: str, index: int, model: str, known: Collection[str]) -> SignatureError:
    """An input that the model does not take, or that came before."""
    fault = "came twice" if name in known else f"is not an input of {model!r}"
    return SignatureError(
        f"input {name!r} {fault}; the model takes {quoted(known)}", field=f"inputs[{index}].name"
    )


def missing_input(came: Collection[str], model: str, known: Collection[str]) -> SignatureError:
    """The inputs that did not come."""
    missing = [name for name in known if name not in came]
    return SignatureError(
        f"input {quoted(missing)} is missing; model {model!r} takes {quoted(known)}",
        field="inputs",
    )


def unexpected_output(name: str, index: int, known: Collection[str]) -> SignatureError:
    """An output that the model does not give, or that was asked for before."""
    fault = "is asked for twice" if name in known else "is not an output of the model"
    return SignatureError(
        f"output {name!r} {fault}; it gives {quoted(known)}", field=f"outputs[{index}].name"
    )


def quoted(names: Collection[str]) -> str:
    """Names for a message."""
    return ", ".join(repr(name) for name in names)


def wrong_rank(name: str, index: int, expected: Sequence[int], shape: Sequence[int]) -> NoReturn:
    """Another number of dimensions than the model takes."""
    raise SignatureError(
        f"input {name!r} has {len(shape)} dimensions, shape {list(shape)}; the model takes "
        f"{len(expected)}, shape {list(expected)} (-1 is any size)",
        field=f"inputs[{index}].shape",
    )


def wrong_dimension(
    name: str, index: int, expected: Sequence[int], shape: Sequence[int]
) -> NoReturn:
    """A dimension that the model fixes has another size, or a size is negative."""
    axis = next(
        axis
        for axis, (want, got) in enumerate(zip(expected, shape, strict=True))
        if got < 0 or (want >= 0 and want != got)
    )
    wanted = "any size from 0" if expected[axis] < 0 else str(expected[axis])
    raise SignatureError(
        f"input {name!r} has shape {list(shape)}; dimension {axis} is {shape[axis]}, "
        f"the model takes {wanted} there",
        field=f"inputs[{index}].shape",
    )


def too_many_elements(
    name: str, index: int, shape: Sequence[int], count: int, limit: int
) -> NoReturn:
    """The shape stands for more elements than one tensor may have."""
    raise SignatureError(
        f"input {name!r} has shape {list(shape)}, {count} elements; a tensor of its datatype may "
        f"have {limit}, and so may each dimension",
        field=f"inputs[{index}].shape",
    )


def outputs_too_large(name: str, axis: int, size: int, most: int) -> TooLargeError:
    """By its shape alone: every output would be larger than one may be."""
    return TooLargeError(
        f"input {name!r} has {size} in dimension {axis}; the model's outputs grow with it, and past "
        f"{most} none of them could be answered: send several requests, or a batch",
        field="inputs",
    )


def wrong_count(name: str, index: int, shape: Sequence[int], count: int, got: int) -> NoReturn:
    """As many elements as the shape says, or none of it is believed."""
    raise SignatureError(
        f"input {name!r} has shape {list(shape)}, which is {count} elements, but its data has "
        f"{got}",
        field=f"inputs[{index}].data",
    )


def wrong_size(
    name: str, index: int, shape: Sequence[int], expected_bytes: int, got_bytes: int
) -> NoReturn:
    """Binary data of another size than shape and datatype say."""
    raise SignatureError(
        f"input {name!r} has shape {list(shape)}, which is {expected_bytes} bytes of its "
        f"datatype, but {got_bytes} came",
        field=f"inputs[{index}].parameters.binary_data_size",
    )


def bad_element(name: str, index: int, kind: ArrayType, flat: Sequence[Any]) -> NoReturn:
    """The first element that is not a value of the datatype. There must be one."""
    for position, value in enumerate(flat):
        reason = _mismatch(kind, value)
        if reason is not None:
            raise SignatureError(
                f"input {name!r}: data element {position} is {reason}",
                field=f"inputs[{index}].data",
            )
    raise SignatureError(
        f"input {name!r}: data does not fit {kind.datatype}", field=f"inputs[{index}].data"
    )


def _mismatch(kind: ArrayType, value: Any) -> str | None:
    came = _JSON_KINDS.get(type(value), "not JSON")
    if kind.datatype == "BYTES":
        return None if isinstance(value, str) and _is_unicode(value) else _no_text(value, came)
    if kind.datatype == "BOOL":
        return None if isinstance(value, bool) else f"{came}; BOOL takes true or false"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return f"{came}; {kind.datatype} takes numbers"
    if kind.integer_range is None:
        return None if _is_float(value) else f"{describe(value)}, too large for {kind.datatype}"
    low, high = kind.integer_range
    if isinstance(value, float):
        return f"{describe(value)}, written as a number with a fraction or exponent; {kind.datatype} takes integers"
    return (
        None
        if low <= value <= high
        else f"{describe(value)}; {kind.datatype} holds {low} to {high}"
    )


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _no_text(value: Any, came: str) -> str:
    if isinstance(value, str):
        return "a string with a lone surrogate, which UTF-8 cannot carry"
    return f"{came}; BYTES takes strings"


def _is_float(value: float) -> bool:
    try:
        float(value)
    except OverflowError:
        return False
    return True


def ragged(name: str, index: int, where: str, expected: int | None, got: object) -> NoReturn:
    """Nested data that does not follow the shape."""
    size = f"an array of {len(got)}" if isinstance(got, list) else _JSON_KINDS.get(type(got), "?")
    wanted = "a plain value" if expected is None else f"an array of {expected}"
    raise SignatureError(
        f"input {name!r}: data{where} is {size}, but the shape asks for {wanted} there; "
        "send data flat in row-major order, or nested as the shape says",
        field=f"inputs[{index}].data",
    )


def non_finite(name: str, index: int, position: int, source: object = None) -> LanewayError:
    """An element is NaN or infinite, or became so because its datatype cannot hold it.

    `source`: the JSON value where the data came as JSON.
    """
    field = f"inputs[{index}].data"
    if isinstance(source, (int, float)) and _is_float(source) and isfinite(source):
        return SignatureError(
            f"input {name!r}: data element {position} is {describe(source)}, too large for its "
            "datatype",
            field=field,
        )
    return NonFiniteInputError(
        f"input {name!r}: data element {position} is not a finite number, and the model does not "
        "allow that (allow_non_finite in its model.toml)",
        field=field,
    )
