"""An instance's metadata service (IMDSv2) on 127.0.0.1, with notices put in by hand.

Paths, tokens and refusals are those of the real one (EC2 user guide, "Use the Instance Metadata
Service", read 2026-11-22): a token by PUT with a lifetime of 1 to 21,600 s, 401 for a GET without a
live one, 403 for a PUT that came through a proxy, 404 where there is nothing.
"""

from __future__ import annotations

import json
import secrets
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Final

from cli.testing.listening import listening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOKEN_PATH: Final = "/latest/api/token"  # noqa: S105 - a path
INSTANCE_ID_PATH: Final = "/latest/meta-data/instance-id"
SPOT_PATH: Final = "/latest/meta-data/spot/instance-action"
REBALANCE_PATH: Final = "/latest/meta-data/events/recommendations/rebalance"
LIFECYCLE_PATH: Final = "/latest/meta-data/autoscaling/target-lifecycle-state"
TOKEN_TTL_MAX_S: Final = 21_600
NOTICE_S: Final = 120.0
"""How far ahead a spot notice's time lies."""


@dataclass
class FakeMetadata:
    """What the service knows; change it while it is served, from any thread."""

    instance_id: str = "i-0123456789abcdef0"
    clock: Callable[[], float] = time.time
    delay_s: float = 0.0
    """Waited before each answer."""
    failing: frozenset[str] = frozenset()
    """Paths that are answered with 500."""
    texts: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str, int]] = field(default_factory=list)
    """Method, path and status of every request, in order."""
    url: str = ""
    _tokens: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.texts = {INSTANCE_ID_PATH: self.instance_id, LIFECYCLE_PATH: "InService", **self.texts}

    def interrupt(self, *, in_s: float = NOTICE_S, action: str = "terminate") -> float:
        """Put in a spot notice; gives the epoch second that it names."""
        moment = int(self.clock() + in_s)
        self.texts[SPOT_PATH] = json.dumps({"action": action, "time": _utc(moment)})
        return float(moment)

    def recommend_rebalance(self) -> None:
        """Put in a recommendation to move, as of now."""
        self.texts[REBALANCE_PATH] = json.dumps({"noticeTime": _utc(self.clock())})

    def terminate(self) -> None:
        """Let the Auto Scaling group be terminating the instance."""
        self.texts[LIFECYCLE_PATH] = "Terminated"

    def forget_tokens(self) -> None:
        """As if every token had lapsed."""
        self._tokens.clear()

    def answer(self, method: str, path: str, headers: Any) -> tuple[int, str]:
        """Status and text for one request."""
        if path in self.failing:
            return 500, "InternalError"
        if path == TOKEN_PATH:
            return self._grant(method, headers)
        if method not in ("GET", "HEAD"):
            return 405, "Method Not Allowed"
        token = headers.get("x-aws-ec2-metadata-token", "")
        if self._tokens.get(token, 0.0) <= self.clock():
            return 401, "Unauthorized"
        return (200, self.texts[path]) if path in self.texts else (404, "Not Found")

    def _grant(self, method: str, headers: Any) -> tuple[int, str]:
        if method != "PUT":
            return 405, "Method Not Allowed"
        if headers.get("x-forwarded-for") is not None:
            return 403, "Forbidden"
        asked = headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
        if not asked.isdecimal() or not 1 <= int(asked) <= TOKEN_TTL_MAX_S:
            return 400, "Bad Request"
        token = secrets.token_urlsafe(40)
        self._tokens[token] = self.clock() + int(asked)
        return 200, token


@contextmanager
def serve_metadata(metadata: FakeMetadata | None = None) -> Iterator[FakeMetadata]:
    """Serve until the block ends, on a free port of 127.0.0.1; `url` of what is given is its address."""
    metadata = metadata or FakeMetadata()
    with listening(_handler_of(metadata)) as address:
        metadata.url = f"http://{address}"
        yield metadata


def _utc(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _handler_of(metadata: FakeMetadata) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        wbufsize = -1

        def _answer(self) -> None:
            if metadata.delay_s:
                time.sleep(metadata.delay_s)
            status, text = metadata.answer(self.command, self.path, self.headers)
            metadata.requests.append((self.command, self.path, status))
            self.send_response(status)
            self.send_header("content-type", "text/plain")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text.encode())
            with suppress(OSError):  # who asked has given up waiting
                self.wfile.flush()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Tests read `requests`."""

    for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        setattr(Handler, f"do_{method}", Handler._answer)  # noqa: SLF001 - the class is our own
    return Handler
