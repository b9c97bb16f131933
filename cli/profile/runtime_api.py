"""Lambda's Runtime API on 127.0.0.1, for one function: AWS's own runtime client asks it for events.

As AWS describes it: the client asks for the next event, posts its answer or its error, and asks again.
The first question ends INIT; before it the client may post that INIT failed.
"""

from __future__ import annotations

import queue
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple

from cli.profile.served import Served

VERSION: Final = "/2018-06-01/runtime"
FUNCTION_ARN: Final = "arn:aws:lambda:us-east-1:123456789012:function:profile"
TRACE_ID: Final = "Root=1-00000000-000000000000000000000000;Sampled=0"
DEADLINE_S: Final = 60.0


class Told(NamedTuple):
    """What the client said, and when, on the monotonic clock in nanoseconds."""

    kind: str
    """`ready`, `answer`, `failure`."""
    at_ns: int
    body: bytes = b""


class RuntimeApi(Served):
    """Its address is for the variable `AWS_LAMBDA_RUNTIME_API`."""

    def __init__(self) -> None:
        self._events: queue.Queue[bytes] = queue.Queue()
        self._told: queue.Queue[Told] = queue.Queue()
        super().__init__(_handler(self._events, self._told), _Server)

    def send(self, event: bytes) -> None:
        """Give the client an event, now or when it asks."""
        self._events.put(event)

    def listen(self, timeout_s: float) -> Told | None:
        """What the client says next; None where it says nothing for so long."""
        try:
            return self._told.get(timeout=timeout_s)
        except queue.Empty:
            return None


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that is gone: it was killed when it had answered."""


def _handler(events: queue.Queue[bytes], told: queue.Queue[Told]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            told.put(Told("ready", time.monotonic_ns()))
            event = events.get()
            deadline_ms = int((time.time() + DEADLINE_S) * 1000)
            self._answer(
                200,
                event,
                {
                    "Lambda-Runtime-Aws-Request-Id": "00000000-0000-4000-8000-000000000000",
                    "Lambda-Runtime-Deadline-Ms": str(deadline_ms),
                    "Lambda-Runtime-Invoked-Function-Arn": FUNCTION_ARN,
                    "Lambda-Runtime-Trace-Id": TRACE_ID,
                    "Content-Type": "application/json",
                },
            )

        def do_POST(self) -> None:
            at_ns = time.monotonic_ns()
            body = self._body()
            kind = "answer" if self.path.endswith("/response") else "failure"
            told.put(Told(kind, at_ns, body))
            self._answer(202, b"{}", {})

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                return b"".join(iter(self._chunk, b""))
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _chunk(self) -> bytes:
            size = int(self.rfile.readline().partition(b";")[0], 16)
            chunk = self.rfile.read(size)
            self.rfile.readline()
            return chunk

        def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """The function's own lines are what is to be read."""

    return Handler
