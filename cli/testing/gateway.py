"""An HTTP API in this process: routes, asks the authorizer, makes the event, decodes the answer.

As Amazon API Gateway does it with payload format 2.0. It enforces the gateway's own limit of a body;
Lambda's smaller one is refused by the functions themselves.
"""

from __future__ import annotations

import base64
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

from shared.keys import API_KEY_HEADER
from shared.limits import HTTP_API_PAYLOAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cli.testing.lambdas import LocalFunction

DEFAULT_ROUTE: Final = "$default"
_TEXT_TYPES: Final = ("application/json", "application/xml", "application/javascript")


@dataclass(frozen=True)
class GatewayAnswer:
    """What a caller gets; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body read as JSON."""
        return orjson.loads(self.body)


@dataclass
class Gateway:
    """Routes by their keys, most specific first; every route needs a key but the `open_routes`."""

    authorizer: LocalFunction
    routes: Mapping[str, LocalFunction]
    open_routes: frozenset[str] = frozenset()
    stage: str = "$default"
    _route_parts: dict[str, tuple[str, ...]] = field(init=False)

    def __post_init__(self) -> None:
        self._route_parts = {
            key: tuple(key.split("/")) for key in self.routes if key != DEFAULT_ROUTE
        }

    def handle(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> GatewayAnswer:
        """Answer one call; `target` is the path with its query, as on the request line."""
        if len(body) > HTTP_API_PAYLOAD_BYTES:
            return _own_answer(413, "Request Too Long")
        path = unquote(urlsplit(target).path)
        key, parameters = self._match(method, path)
        event = self._event(key, method, target, _joined(headers), parameters)
        if key not in self.open_routes:
            refusal = self._authorize(event)
            if refusal is not None:
                return refusal
        _put_body(event, body)
        return self._invoke(key, event)

    def _match(self, method: str, path: str) -> tuple[str, dict[str, str]]:
        wanted = f"{method} {path}".split("/")
        for key, parts in sorted(self._route_parts.items(), key=lambda item: item[0].count("{")):
            if len(parts) != len(wanted):
                continue
            pairs = list(zip(parts, wanted, strict=True))
            if all(part == got or (part[:1] == "{" and got) for part, got in pairs):
                return key, {part[1:-1]: got for part, got in pairs if part[:1] == "{"}
        return DEFAULT_ROUTE, {}

    def _event(
        self,
        key: str,
        method: str,
        target: str,
        headers: dict[str, str],
        parameters: dict[str, str],
    ) -> dict[str, Any]:
        split = urlsplit(target)
        prefix = "" if self.stage == "$default" else f"/{self.stage}"
        path = prefix + unquote(split.path)
        event = {
            "version": "2.0",
            "routeKey": key,
            "rawPath": path,
            "rawQueryString": split.query,
            "headers": headers,
            "requestContext": self._context(key, method, path, headers),
            "isBase64Encoded": False,
        }
        if split.query:
            query = parse_qs(split.query, keep_blank_values=True)
            event["queryStringParameters"] = {name: ",".join(v) for name, v in query.items()}
        if parameters:
            event["pathParameters"] = parameters
        return event

    def _context(
        self, key: str, method: str, path: str, headers: Mapping[str, str]
    ) -> dict[str, Any]:
        return {
            "accountId": "123456789012",
            "apiId": "laneway",
            "domainName": headers.get("host", "127.0.0.1"),
            "domainPrefix": "127",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": str(uuid.uuid4()),
            "routeKey": key,
            "stage": self.stage,
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime()),
            "timeEpoch": int(time.time() * 1000),
        }

    def _authorize(self, event: dict[str, Any]) -> GatewayAnswer | None:
        """None for a caller who may go on, whose context is then in the event."""
        secret = event["headers"].get(API_KEY_HEADER)
        if not secret:
            return _own_answer(401, "Unauthorized")
        question = {**event, "type": "REQUEST", "identitySource": [secret]}
        try:
            decision = self.authorizer.call(question)
        except Exception:  # noqa: BLE001 - the gateway answers 500 for whatever an authorizer raises
            return _own_answer(500, "Internal Server Error")
        if decision.get("isAuthorized") is not True:
            return _own_answer(403, "Forbidden")
        event["requestContext"]["authorizer"] = {"lambda": decision.get("context", {})}
        return None

    def _invoke(self, key: str, event: dict[str, Any]) -> GatewayAnswer:
        try:
            answer = self.routes[key].call(event)
            return GatewayAnswer(
                answer["statusCode"],
                {name.lower(): value for name, value in answer["headers"].items()},
                _body_of(answer),
            )
        except Exception:  # noqa: BLE001 - the gateway answers 500 for whatever a function raises
            return _own_answer(500, "Internal Server Error")


def _joined(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _put_body(event: dict[str, Any], body: bytes) -> None:
    if not body:
        return
    content_type = event["headers"].get("content-type", "").split(";")[0].strip().lower()
    if content_type.startswith("text/") or content_type in _TEXT_TYPES:
        event["body"] = body.decode("utf-8", "replace")
    else:
        event["body"] = base64.b64encode(body).decode()
        event["isBase64Encoded"] = True


def _body_of(answer: Mapping[str, Any]) -> bytes:
    text: str = answer.get("body", "")
    return base64.b64decode(text) if answer.get("isBase64Encoded") else text.encode()


def _own_answer(status: int, message: str) -> GatewayAnswer:
    body = orjson.dumps({"message": message})
    return GatewayAnswer(status, {"content-type": "application/json"}, body)
