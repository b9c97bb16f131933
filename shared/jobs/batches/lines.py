"""The lines of a batch: a request read, an answer or an error written, in OpenAI's batch form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from shared.errors import InvalidRequestError, LanewayError, MalformedBodyError, TooLargeError
from shared.jobs.batches.reading import LINE_BYTES_MAX
from shared.limits import JSON_CONTAINERS_MAX
from shared.schema.batch import CUSTOM_ID_LENGTH_MAX
from shared.schema.refusals import describe
from shared.schema.wire import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

TOO_LONG: Final = TooLargeError(
    f"the line is longer than {LINE_BYTES_MAX} bytes; send fewer rows in a line"
)


class Request(NamedTuple):
    """A line that asks for what the batch does."""

    custom_id: str
    body: dict[str, Any]


class RefusedLineError(Exception):
    """A line that is no request; `custom_id` where it could be read."""

    def __init__(self, error: LanewayError, custom_id: str | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.custom_id = custom_id


def read_line(raw: bytes, *, endpoint: str) -> Request | None:
    """The request in a line; None for a blank one. Raises `RefusedLineError`."""
    try:
        line = orjson.loads(raw) if len(raw) <= JSON_CONTAINERS_MAX else _leniently(raw)
    except orjson.JSONDecodeError:
        if not raw.strip():
            return None
        line = _leniently(raw)
    if line.__class__ is dict:
        custom_id, body = line.get("custom_id"), line.get("body")
        if (
            custom_id.__class__ is str
            and 0 < len(custom_id) <= CUSTOM_ID_LENGTH_MAX
            and body.__class__ is dict
            and line.get("url") == endpoint
            and line.get("method") == "POST"
        ):
            return Request(custom_id, body)
    raise _refused(line, endpoint)


def custom_id_of(raw: bytes) -> str | None:
    """The `custom_id` of a line that is not run, where it can be read."""
    if len(raw) > JSON_CONTAINERS_MAX:
        return None
    try:
        line = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return _custom_id(line) if isinstance(line, dict) else None


def is_blank(raw: bytes | None) -> bool:
    """Whether a line holds nothing; it is skipped, and counted nowhere."""
    return raw is not None and not raw.strip()


def answer_form(batch_id: str, body: bytes) -> bytes:
    """A line of the output, of bytes' `%`: number, custom_id as JSON, number, then what `body` takes."""
    name = batch_id.encode()
    return b"".join(
        (
            b'{"id":"%b-%%d","custom_id":%%b,"response":{"status_code":200,"request_id":' % name,
            b'"%b-%%d","body":' % name,
            body,
            b'},"error":null}\n',
        )
    )


def error_line(batch_id: str, number: int, custom_id: str | None, error: LanewayError) -> bytes:
    """A line of the file of errors."""
    name = f"{batch_id}-{number}"
    line = {
        "id": name,
        "custom_id": custom_id,
        "response": {"status_code": error.status, "request_id": name, "body": error.body(name)},
        "error": {"code": error.code, "message": error.message},
        "line": number,
    }
    return orjson.dumps(line) + b"\n"


def _leniently(raw: bytes) -> Any:
    """What the realtime call would read, and no more: bare NaN and infinities too."""
    try:
        return parse_json(raw)
    except TooLargeError as error:
        raise RefusedLineError(error) from error
    except MalformedBodyError as error:
        message = error.message.replace("the body", "the line")
        raise RefusedLineError(MalformedBodyError(message)) from error


def _refused(line: Any, endpoint: str) -> RefusedLineError:
    if not isinstance(line, dict):
        return RefusedLineError(InvalidRequestError("the line should be a JSON object"))
    custom_id = _custom_id(line)
    return RefusedLineError(_fault(line, custom_id, endpoint), custom_id)


def _custom_id(line: Mapping[str, Any]) -> str | None:
    value = line.get("custom_id")
    fits = isinstance(value, str) and 0 < len(value) <= CUSTOM_ID_LENGTH_MAX
    return value if fits else None


def _fault(line: Mapping[str, Any], custom_id: str | None, endpoint: str) -> InvalidRequestError:
    if custom_id is None:
        return InvalidRequestError(
            f"custom_id should be a text of 1 to {CUSTOM_ID_LENGTH_MAX} characters; "
            f"received {describe(line.get('custom_id'))}",
            field="custom_id",
        )
    if line.get("method") != "POST":
        return InvalidRequestError(
            f"method should be POST; received {describe(line.get('method'))}", field="method"
        )
    if line.get("url") != endpoint:
        return InvalidRequestError(
            f"url should be the batch's endpoint {endpoint!r}; received {describe(line.get('url'))}",
            field="url",
        )
    return InvalidRequestError("body should be a JSON object", field="body")
