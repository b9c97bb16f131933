"""Says in the caller's terms why a body is not a valid request: the field, what came, what is expected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from shared.errors import InvalidRequestError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails, ValidationError

SHOWN_CHARACTERS_MAX: Final = 60
"""Of a wrong value; a message repeats no more of the caller's data than names the mistake."""

_EXPECTED: Final = {
    "model_type": "an object",
    "dict_type": "an object",
    "tuple_type": "an array",
    "int_type": "an integer",
    "string_type": "a string",
}
_PARAMETER_VALUE: Final = "a string, a number or a boolean"


def refusal(error: ValidationError) -> InvalidRequestError:
    """The error for the first thing that is wrong; the caller mends one thing at a time."""
    first = error.errors(include_url=False)[0]
    location, is_parameter = _location(first["loc"])
    field = field_path(location)
    name = field or "the request"
    if first["type"] == "missing":
        return InvalidRequestError(f"{name} is required and missing", field=field)
    expected = _PARAMETER_VALUE if is_parameter else _expected(first)
    received = describe(first["input"])
    return InvalidRequestError(f"{name} should be {expected}; received {received}", field=field)


def field_path(location: tuple[int | str, ...]) -> str | None:
    """`("inputs", 0, "shape")` as `inputs[0].shape`; None for the request itself."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return path.removeprefix(".") or None


def describe(value: Any) -> str:
    """A short, JSON-like account of a received value."""
    if isinstance(value, dict):
        return f"an object of {len(value)} members"
    if isinstance(value, (list, tuple)):
        return f"an array of {len(value)} elements"
    text = _json_text(value)
    return text if len(text) <= SHOWN_CHARACTERS_MAX else text[:SHOWN_CHARACTERS_MAX] + "..."


def _location(location: tuple[int | str, ...]) -> tuple[tuple[int | str, ...], bool]:
    """Without the names of the union's members that pydantic_core appends to a parameter's key."""
    if "parameters" not in location:
        return location, False
    end = location.index("parameters") + 2
    return location[:end], len(location) > end


def _expected(error: ErrorDetails) -> str:
    known = _EXPECTED.get(error["type"])
    if known is not None:
        return known
    context = error.get("ctx", {})
    if error["type"] in {"too_long", "too_short"}:
        limit = context.get("max_length", context.get("min_length"))
        return f"of length {limit} or {'less' if error['type'] == 'too_long' else 'more'}"
    if error["type"] == "literal_error":
        return f"one of {context['expected']}".replace("'", "").replace(" or ", ", ")
    if error["type"] == "string_too_short":
        return f"at least {context['min_length']} characters"
    if error["type"] == "string_too_long":
        return f"at most {context['max_length']} characters"
    return error["msg"].removeprefix("Input should be ")


def _json_text(value: Any) -> str:
    if isinstance(value, str):
        value = value[: SHOWN_CHARACTERS_MAX + 1]
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # an integer of more than 64 bits, or a string that is not Unicode
        return repr(value)[:SHOWN_CHARACTERS_MAX] if isinstance(value, str) else "a huge number"
