"""HTTP API events: an event (payload format 2.0) becomes an `HttpRequest`, a `Response` its answer.

Common to the functions behind the HTTP API. It knows the shape of our errors, and no address and no model;
what the gateway does to bodies is in `functions.gateway_bodies`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import orjson

from functions.gateway_bodies import JSON_HEADERS, body_bytes, read_body, write_response
from shared.errors import (
    InternalError,
    LanewayError,
    LimitError,
    MethodNotAllowedError,
    NotSupportedError,
)
from shared.principal import NOBODY, principal_of
from shared.telemetry import RequestFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.limiting.gate import Gate
    from shared.principal import Principal, Signers
    from shared.telemetry import Telemetry

DEFAULT_STAGE: Final = "$default"
REMAINING: Final = "laneway_remaining_ms"
"""Member of an event that one function hands to another: the time that its caller waits."""
RETRY_AFTER_S: Final = 1
"""What a caller is told to wait after a failure that a later try may not meet."""


class HttpRequest:
    """One call as the functions see it: what every function needs, and the rest of the event on demand."""

    __slots__ = ("_event", "body", "headers", "principal", "remaining_ms")

    def __init__(
        self,
        event: Mapping[str, Any],
        headers: Mapping[str, str],
        body: bytes,
        remaining_ms: int,
        principal: Principal,
    ) -> None:
        self._event = event
        self.principal = principal
        """Who calls, and what the caller may do."""
        self.headers = headers
        """Names in lower case."""
        self.body = body
        """As the caller sent it: still compressed where it says so."""
        self.remaining_ms = remaining_ms
        """Until the answer must be out."""

    @property
    def method(self) -> str:
        """In upper case."""
        method: str = self._event["requestContext"]["http"]["method"]
        return method

    @property
    def path(self) -> str:
        """Without the stage's prefix, percent-decoded by the gateway."""
        stage = self._event["requestContext"].get("stage", DEFAULT_STAGE)
        return _without_stage(self._event["rawPath"], stage)

    @property
    def route_key(self) -> str:
        """The gateway's route that the call took."""
        route_key: str = self._event["routeKey"]
        return route_key

    @property
    def path_parameters(self) -> Mapping[str, str]:
        """What stood in the place of the route's `{...}`."""
        return self._event.get("pathParameters") or {}

    @property
    def query(self) -> Mapping[str, str]:
        """The query string, several values of a name joined by commas."""
        return self._event.get("queryStringParameters") or {}

    @property
    def tenant(self) -> str:
        """Whom the call is for, as the authorizer found it."""
        return self.principal.tenant

    @property
    def request_id(self) -> str:
        """The gateway's, which its access log has too."""
        request_id: str = self._event["requestContext"]["requestId"]
        return request_id


class Response:
    """What a function answers. A tuple with names would take three times as long to make, on every request."""

    __slots__ = ("about", "body", "headers", "status")

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        about: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.about = about
        """What was made or changed, by the members of an audit record; the caller does not get it."""

    def with_headers(self, headers: Mapping[str, str]) -> Response:
        """The same answer with these headers."""
        return Response(self.status, headers, self.body, self.about)


def serve(
    event: Mapping[str, Any],
    context: Any,
    *,
    answer: Callable[[HttpRequest, RequestFacts], Response],
    telemetry: Telemetry,
    gate: Gate | None = None,
    signers: Signers | None = None,
) -> dict[str, Any]:
    """Answer one call, whatever happens: every failure becomes an error in our shape.

    The request's id is the gateway's, which its access log has too. `gate` None: nothing is limited. `signers`:
    what callers known to AWS IAM may do.
    """
    facts = RequestFacts(event["requestContext"]["requestId"], time.perf_counter_ns())
    standing = None
    try:
        principal = principal_of(event, signers)
        facts.tenant, facts.principal = principal.tenant, principal.name
        if (
            gate is not None
            and gate.known[principal.limits] is not None
            and principal is not NOBODY  # or whoever sends no proof could use up a tenant's calls
        ):
            # Before the body is read: a refused call costs as little as can be.
            standing = gate.admit(principal.tenant, principal.limits, body_bytes(event))
        request = read_request(event, context.get_remaining_time_in_millis(), principal)
        facts.request_bytes = len(request.body)
        response = answer(request, facts)
        if standing is not None:
            response = response.with_headers({**response.headers, **standing.fields()})
        answered = write_response(response)
    except Exception as error:  # noqa: BLE001 - the last stop: what is not ours is a defect, answered 500
        response = _failed(error, facts, context, telemetry)
        if standing is not None:
            response = response.with_headers({**standing.fields(), **response.headers})
        answered = write_response(response)
    facts.status, facts.response_bytes = response.status, len(response.body)
    telemetry.request(facts, context)
    return answered


def _failed(error: Exception, facts: RequestFacts, context: Any, telemetry: Telemetry) -> Response:
    known = error if isinstance(error, LanewayError) else _defect()
    facts.code = known.code
    if known.status >= InternalError.status and known.status != NotSupportedError.status:
        telemetry.failure(error, facts, context)
    return error_response(known, facts.request_id)


def _defect() -> InternalError:
    return InternalError("an internal error; the service's log has it under this request_id")


def read_request(
    event: Mapping[str, Any], remaining_ms: int = 0, principal: Principal = NOBODY
) -> HttpRequest:
    """The call that an event holds, made by `principal`; `remaining_ms` until the invocation ends.

    Raises what `read_body` raises.
    """
    headers = event.get("headers") or {}
    if REMAINING in event:
        remaining_ms = min(remaining_ms, event[REMAINING])
    return HttpRequest(event, headers, read_body(event, headers), remaining_ms, principal)


def _without_stage(path: str, stage: str) -> str:
    if stage == DEFAULT_STAGE:
        return path
    prefix = f"/{stage}"
    if path == prefix or path.startswith(f"{prefix}/"):
        return path[len(prefix) :] or "/"
    return path


def json_response(value: object, *, status: int = 200) -> Response:
    """`value` as a JSON answer."""
    return Response(status, JSON_HEADERS, orjson.dumps(value))


def error_response(error: LanewayError, request_id: str) -> Response:
    """The protocol's error shape, with our members beside `error`."""
    headers = dict(JSON_HEADERS)
    if isinstance(error, MethodNotAllowedError):
        headers["allow"] = error.allow
    if error.retryable:
        headers["retry-after"] = str(RETRY_AFTER_S)
    if isinstance(error, LimitError):
        headers |= error.headers
    return Response(error.status, headers, orjson.dumps(error.body(request_id)))
