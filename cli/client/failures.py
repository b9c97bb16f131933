"""An answer that is not a success, as a typed error: ours (`error`) and the gateway's (`message`)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from cli.client.errors import StatusError, status_class
from shared.errors import LanewayError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

RETRYABLE: Final = frozenset({429, 502, 503, 504})
# What the gateway's bare words mean here; docs/errors.md has the table.
GATEWAY_HINTS: Final[dict[int, str]] = {
    401: "no key, token or signature where the stage looks for it: docs/client.md says which it takes",
    403: "the stage does not know the key, the token is not valid now, or an IAM policy is in the way",
    413: "the body is past the gateway's 10 MB: send fewer rows",
    429: "the stage's request rate is used up: retry later, or raise the stage's throttle",
    500: "the function did not answer: no free concurrency, or it crashed; see its log",
    502: "the function's answer could not be read; see its log",
    503: "the function was not reached or took too long: retry, or raise the pool's timeout",
    504: "the function took longer than the gateway waits (30 s)",
}


def failure_of(status: int, headers: Mapping[str, str], body: bytes) -> StatusError:
    """The typed error of a non-success answer; `headers` must ignore case."""
    members = _members(body)
    error, code = members.get("error"), members.get("code")
    from_gateway = not isinstance(error, str)
    return status_class(status, code)(
        _gateway_text(status, members) if from_gateway else str(error),
        status=status,
        code=code if isinstance(code, str) else None,
        field=members.get("field"),
        request_id=members.get("request_id") or headers.get("apigw-requestid"),
        retry_after_s=retry_after_s(headers.get("retry-after")),
        from_gateway=from_gateway,
        retryable=_retryable(status, code, from_gateway=from_gateway),
    )


def retry_after_s(value: str | None) -> float | None:
    """`Retry-After` in seconds from now, from either of its forms; None when absent or unreadable."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        wait = parsedate_to_datetime(value) - datetime.now(UTC)
    except (TypeError, ValueError):
        return None
    return max(0.0, wait.total_seconds())


def _members(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _gateway_text(status: int, members: Mapping[str, Any]) -> str:
    said = members.get("message") or members.get("Message") or _reason(status)
    hint = GATEWAY_HINTS.get(status)
    return f"{said}: {hint}" if hint else str(said)


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "an answer without a reason"


def _retryable(status: int, code: object, *, from_gateway: bool) -> bool:
    """Ours by their code; the gateway's 500 too, for the function never began or never answered."""
    known = {error.code: error.retryable for error in _tree(LanewayError)}
    if not from_gateway and code in known:
        return known[str(code)]
    return status in RETRYABLE or (from_gateway and status == HTTPStatus.INTERNAL_SERVER_ERROR)


def _tree(error: type[LanewayError]) -> Iterator[type[LanewayError]]:
    yield error
    for child in error.__subclasses__():
        yield from _tree(child)
