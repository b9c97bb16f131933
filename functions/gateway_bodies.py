"""Bodies as the gateway hands them over and takes them: what arrives as base64, what fits, what goes as text.

Common to the functions behind the HTTP API.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, Any, Final

from shared.errors import MalformedBodyError, MediaTypeError, TooLargeError
from shared.limits import BINARY_BODY_BYTES_MAX, BODY_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from functions.api_gateway import Response

JSON_HEADERS: Final = {"content-type": "application/json"}
_TEXT_TYPES: Final = ("application/json", "text/")
_SURELY_FITS_BYTES: Final = BODY_BYTES_MAX // 6
"""Lambda's own JSON escapes a character into at most six bytes for each of its bytes."""
_BINARY_ONLY_HEADERS: Final = ("content-encoding", "inference-header-content-length")


def read_body(event: Mapping[str, Any], headers: Mapping[str, str]) -> bytes:
    """The body of an event, as its caller sent it.

    Raises `MediaTypeError` for one that its Content-Type mangled, `TooLargeError` for one past the limit and
    `MalformedBodyError` for one that is not base64.
    """
    body = event.get("body")
    if not body:
        return b""
    if event.get("isBase64Encoded"):
        return _from_base64(body)
    for name in _BINARY_ONLY_HEADERS:
        if name in headers:
            raise MediaTypeError(
                f"a body with {name} is binary, and Content-Type "
                f"{headers.get('content-type', '')[:100]!r} made it text on the way; "
                "send it as Content-Type: application/octet-stream",
                field="content-type",
            )
    text: bytes = body.encode("utf-8", "surrogatepass")
    if len(text) > BODY_BYTES_MAX:
        raise _body_too_large(len(text), BODY_BYTES_MAX, "text")
    return text


def body_bytes(event: Mapping[str, Any]) -> int:
    """The size of the body that `read_body` will read."""
    body: str = event.get("body") or ""
    if event.get("isBase64Encoded"):
        return len(body) * 3 // 4 - body[-2:].count("=")
    return len(body) if body.isascii() else len(body.encode("utf-8", "surrogatepass"))


def _from_base64(body: str) -> bytes:
    try:
        content = binascii.a2b_base64(body)
    except (binascii.Error, ValueError) as error:
        raise MalformedBodyError("the body is marked as base64 and is not") from error
    if len(content) > BINARY_BODY_BYTES_MAX:
        raise _body_too_large(len(content), BINARY_BODY_BYTES_MAX, "binary")
    return content


def _body_too_large(size_bytes: int, limit_bytes: int, form: str) -> TooLargeError:
    return TooLargeError(
        f"the body has {size_bytes} bytes and at most {limit_bytes} fit as {form}; send fewer rows "
        "in a request, tensors in binary form rather than JSON, or a body compressed with gzip"
    )


def write_response(response: Response) -> dict[str, Any]:
    """The answer as the gateway takes it: JSON as text, anything else as base64.

    Raises `TooLargeError` for an answer that does not fit a Lambda payload.
    """
    body = response.body
    if response.headers is JSON_HEADERS and len(body) <= _SURELY_FITS_BYTES:
        # The usual answer, for which one more call and a copy of the headers are worth saving.
        return {
            "statusCode": response.status,
            "headers": JSON_HEADERS,
            "body": body.decode(),
            "isBase64Encoded": False,
        }
    if not _travels_as_text(response):
        if len(body) > BINARY_BODY_BYTES_MAX:
            raise _answer_too_large(len(body), BINARY_BODY_BYTES_MAX, "binary")
        text = binascii.b2a_base64(body, newline=False).decode("ascii")
        return _answer(response, text, is_base64=True)
    if len(body) > BODY_BYTES_MAX // 2 and _escaped_bytes(body) > BODY_BYTES_MAX:
        raise _answer_too_large(_escaped_bytes(body), BODY_BYTES_MAX, "JSON")
    return _answer(response, body.decode(), is_base64=False)


def _answer(response: Response, text: str, *, is_base64: bool) -> dict[str, Any]:
    return {
        "statusCode": response.status,
        "headers": dict(response.headers),
        "body": text,
        "isBase64Encoded": is_base64,
    }


def _travels_as_text(response: Response) -> bool:
    """Whether the answer goes as text; a large one that is not ASCII does not.

    Lambda's own JSON escapes each such character into six bytes or twelve on some versions
    (awslambdaric/lambda_runtime_marshaller.py).
    """
    headers, body = response.headers, response.body
    if "content-encoding" in headers or not headers.get("content-type", "").startswith(_TEXT_TYPES):
        return False
    return len(body) <= _SURELY_FITS_BYTES or body.isascii()


def _escaped_bytes(body: bytes) -> int:
    """Size inside Lambda's own JSON, where each quote and backslash takes two bytes."""
    return len(body) + body.count(b'"') + body.count(b"\\")


def _answer_too_large(size_bytes: int, limit_bytes: int, form: str) -> TooLargeError:
    return TooLargeError(
        f"the answer has {size_bytes} bytes and at most {limit_bytes} fit as {form}; ask for fewer "
        "rows or outputs in a request, for binary outputs (binary_data_output), or for a "
        "compressed answer (Accept-Encoding: gzip)"
    )
