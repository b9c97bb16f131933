"""Bodies as bytes: the frame of JSON and binary tensors that a request or an answer travels in.

Framing only: what the bytes of a tensor mean is `shared.inference.codec`. Nothing here copies a
binary tensor on its way in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from shared.errors import InvalidRequestError, MalformedBodyError, TooLargeError
from shared.limits import (
    COMPRESS_ANSWER_FROM_BYTES,
    DECODED_BODY_BYTES_MAX,
    JSON_BYTES_MAX,
    JSON_CONTAINERS_MAX,
)
from shared.schema.compression import accepted_encoding, deflate, inflate, too_large
from shared.schema.core import from_json
from shared.schema.refusals import describe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.schema.request import InferenceRequest
    from shared.schema.tensor import InputTensor, RequestedOutput

HEADER_LENGTH: Final = "inference-header-content-length"
"""Header that gives the length of the JSON part, after the body's Content-Encoding is removed."""
JSON_TYPE: Final = "application/json"
BINARY_TYPE: Final = "application/octet-stream"

_NOTHING: Final = memoryview(b"")
_LENGTH_DIGITS_MAX: Final = 18
"""More digits than a body has bytes, and fewer than `int` refuses to read."""


class Frame(NamedTuple):
    """An opened body: its JSON part, and the binary tensors behind it as one view."""

    json: bytes | memoryview
    tail: memoryview
    raw: bool = False
    """Header length 0: no JSON at all, the tail is the model's one input."""


class Answer(NamedTuple):
    """A body to send, with the headers that describe it, lower-case."""

    body: bytes
    headers: dict[str, str]


def open_body(
    raw: bytes,
    *,
    content_encoding: str | None = None,
    header_length: str | int | None = None,
    max_decoded_bytes: int = DECODED_BODY_BYTES_MAX,
) -> Frame:
    """Undo the Content-Encoding and cut the body at Inference-Header-Content-Length.

    Raises MalformedBodyError, MediaTypeError or TooLargeError.
    """
    body = raw
    if content_encoding is not None:
        body = inflate(raw, content_encoding=content_encoding, max_decoded_bytes=max_decoded_bytes)
    if len(body) > max_decoded_bytes:
        raise too_large(max_decoded_bytes)
    if header_length is None:
        return Frame(body, _NOTHING)
    return _cut(memoryview(body), _header_length(header_length))


def _header_length(value: str | int) -> int:
    text = str(value).strip()
    if not (text.isascii() and text.isdecimal() and len(text) <= _LENGTH_DIGITS_MAX):
        raise MalformedBodyError(
            "Inference-Header-Content-Length should be the number of bytes of the JSON part, "
            f"0 or more; received {describe(text)}",
            field="Inference-Header-Content-Length",
        )
    return int(text)


def _cut(body: memoryview, length_bytes: int) -> Frame:
    if length_bytes > len(body):
        raise MalformedBodyError(
            f"Inference-Header-Content-Length is {length_bytes}, but the decoded body has "
            f"{len(body)} bytes",
            field="Inference-Header-Content-Length",
        )
    return Frame(body[:length_bytes], body[length_bytes:], length_bytes == 0)


def parse_json(data: bytes | memoryview) -> Any:
    """Parse JSON; bare NaN and Infinity are read too, since the protocol's clients write them.

    Of a name that comes twice the last value counts. Raises MalformedBodyError: empty, not UTF-8,
    not JSON, nested too deep, or followed by more; TooLargeError: what would fill the memory.
    """
    if len(data) > JSON_CONTAINERS_MAX:  # shorter JSON has fewer lists than that
        check_json_size(data)
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        text = bytes(data)
        if b"NaN" in text or b"Infinity" in text:
            return _parse_leniently(text)
        if not text.strip():
            raise MalformedBodyError("the body is empty; send a JSON object") from error
        raise MalformedBodyError(f"the body is not valid JSON: {error}") from error


def check_json_size(data: bytes | memoryview) -> None:
    """Refuse JSON that would fill the memory once it is parsed; raises TooLargeError.

    Counts brackets, in strings too: telling them apart would be parsing.
    """
    if len(data) > JSON_BYTES_MAX:
        raise TooLargeError(
            f"the JSON part has {len(data)} bytes, more than {JSON_BYTES_MAX}; send the "
            "tensors in binary, or fewer rows in a request",
            field="body",
        )
    text = bytes(data)
    containers = text.count(b"[") + text.count(b"{")
    if containers > JSON_CONTAINERS_MAX:
        raise TooLargeError(
            f"the JSON part has {containers} lists and objects, more than {JSON_CONTAINERS_MAX}; "
            "send data as one flat list or in binary, or fewer rows in a request",
            field="body",
        )


def _parse_leniently(text: bytes) -> Any:
    try:
        return from_json(text, allow_inf_nan=True)
    except ValueError as error:
        raise MalformedBodyError(f"the body is not valid JSON: {error}") from error


def split_tail(inputs: Sequence[InputTensor], tail: memoryview) -> list[memoryview | None]:
    """The binary data of each input in order, as views of the tail; None where it is JSON.

    Raises InvalidRequestError unless every input has exactly one kind of data and the tail is
    used to its last byte.
    """
    parts: list[memoryview | None] = []
    start = 0
    for index, tensor in enumerate(inputs):
        size_bytes = _binary_size(index, tensor)
        if size_bytes is None:
            parts.append(None)
            continue
        if start + size_bytes > len(tail):
            raise _too_few(index, tensor, size_bytes, len(tail) - start)
        parts.append(tail[start : start + size_bytes])
        start += size_bytes
    if start != len(tail):
        raise _left_over(inputs, len(tail) - start)
    return parts


def _binary_size(index: int, tensor: InputTensor) -> int | None:
    parameters = tensor.parameters or {}
    size_bytes = parameters.get("binary_data_size")
    if "shared_memory_region" in parameters:
        raise _input_error(index, tensor, "asks for shared memory, which is not supported here")
    if size_bytes is None:
        if tensor.data is None:
            raise _input_error(index, tensor, "has neither data nor parameters.binary_data_size")
        return None
    if tensor.data is not None:
        raise _input_error(index, tensor, "has data and parameters.binary_data_size; send one")
    if isinstance(size_bytes, bool) or not isinstance(size_bytes, int) or size_bytes < 0:
        raise InvalidRequestError(
            "binary_data_size should be a number of bytes, 0 or more; "
            f"received {describe(size_bytes)}",
            field=f"inputs[{index}].parameters.binary_data_size",
        )
    return size_bytes


def _input_error(index: int, tensor: InputTensor, what: str) -> InvalidRequestError:
    return InvalidRequestError(f"input {tensor.name!r} {what}", field=f"inputs[{index}]")


def _too_few(
    index: int, tensor: InputTensor, size_bytes: int, left_bytes: int
) -> InvalidRequestError:
    return InvalidRequestError(
        f"input {tensor.name!r} says binary_data_size {size_bytes}, but {left_bytes} bytes are "
        "left in the body after the JSON part and the inputs before it",
        field=f"inputs[{index}].parameters.binary_data_size",
    )


def _left_over(inputs: Sequence[InputTensor], left_bytes: int) -> InvalidRequestError:
    names = ", ".join(
        repr(tensor.name) for tensor in inputs if "binary_data_size" in (tensor.parameters or {})
    )
    where = f"after the binary inputs {names}" if names else "and no input has binary_data_size"
    return InvalidRequestError(f"{left_bytes} bytes are left over {where}", field="inputs")


def wants_binary(
    request: InferenceRequest, output: RequestedOutput | None = None, index: int = 0
) -> bool:
    """Whether an output travels binary: its own `binary_data`, else the request's default, else no.

    `output` is None for an output that the request does not list; `index` is its place there.
    """
    if output is not None and output.parameters:
        own = output.parameters.get("binary_data")
        if own is not None:
            return _flag(own, field=f"outputs[{index}].parameters.binary_data")
    if not request.parameters:
        return False
    default = request.parameters.get("binary_data_output", False)
    return _flag(default, field="parameters.binary_data_output")


def _flag(value: object, *, field: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequestError(
            f"{field} should be true or false; received {describe(value)}", field=field
        )
    return value


def join_answer(
    header: bytes,
    tails: Sequence[bytes | memoryview] = (),
    *,
    accept_encoding: str | None = None,
) -> Answer:
    """One body of the JSON part and the binary outputs in order, compressed only if asked.

    A zero-size binary output is an empty tail: with any tail the answer is binary.
    """
    if not tails:
        return compress(Answer(header, {"content-type": JSON_TYPE}), accept_encoding)
    headers = {"content-type": BINARY_TYPE, HEADER_LENGTH: str(len(header))}
    return compress(Answer(b"".join((header, *tails)), headers), accept_encoding)


def compress(answer: Answer, accept_encoding: str | None) -> Answer:
    """The answer in an encoding that the caller accepts, where that makes it smaller."""
    if accept_encoding is None or len(answer.body) < COMPRESS_ANSWER_FROM_BYTES:
        return answer
    encoding = accepted_encoding(accept_encoding)
    if encoding is None:
        return answer
    body = deflate(answer.body, encoding=encoding)
    if len(body) >= len(answer.body):
        return answer
    headers: Mapping[str, str] = {"content-encoding": encoding, "vary": "accept-encoding"}
    return Answer(body, {**answer.headers, **headers})
