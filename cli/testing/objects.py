"""S3 on a real socket: presigned addresses lead here, because a client of the service is not boto3.

moto answers calls that are made in this process to addresses of AWS. This server makes such calls of
what it receives on 127.0.0.1, and answers as moto does.
"""

from __future__ import annotations

from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Final

import requests

from cli.testing.lambdas import REGION
from cli.testing.listening import listening

if TYPE_CHECKING:
    from collections.abc import Iterator

_METHODS: Final = ("GET", "HEAD", "PUT", "POST", "DELETE")
_AWS: Final = f"https://s3.{REGION}.amazonaws.com"
_PER_HOP: Final = frozenset(
    {"host", "connection", "content-length", "content-encoding", "transfer-encoding", "expect"}
)
_TIMEOUT_S: Final = 30


@contextmanager
def serve_objects() -> Iterator[str]:
    """Serve moto's S3 until the block ends, inside `mock_aws()`; gives the endpoint's URL."""
    with listening(_Handler) as address:
        yield f"http://{address}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {
            name: value for name, value in self.headers.items() if name.lower() not in _PER_HOP
        }
        answer = requests.request(
            self.command,
            _AWS + self.path,
            data=body,
            headers=headers,
            timeout=_TIMEOUT_S,
            stream=True,  # the answer to HEAD names a length and has no body
        )
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name.lower() not in _PER_HOP:
                self.send_header(name, value)
        size = answer.headers.get("content-length") if self.command == "HEAD" else None
        self.send_header("content-length", size or str(len(answer.content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.content)
        self.wfile.flush()

    def handle_expect_100(self) -> bool:
        """Say at once that the body may come: botocore waits a second for it."""
        going_on = super().handle_expect_100()
        self.wfile.flush()
        return going_on

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class's name
        """Nobody reads these lines."""


for _method in _METHODS:
    setattr(_Handler, f"do_{_method}", _Handler._answer)  # noqa: SLF001  the class is our own
