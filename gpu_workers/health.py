"""Answers on the loopback whether the worker lives and takes jobs."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

HOST: Final = "127.0.0.1"


@contextmanager
def answering(port: int, checks: Mapping[str, Callable[[], bool]]) -> Iterator[int]:
    """Answer `GET` of each path of `checks` with 200 or 503; gives the port. `port` 0: a free one."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            check = checks.get(self.path)
            if check is None:
                self._answer(
                    HTTPStatus.NOT_FOUND, {"error": f"no such path; there are {list(checks)}"}
                )
            elif check():
                self._answer(HTTPStatus.OK, {"ok": True})
            else:
                self._answer(HTTPStatus.SERVICE_UNAVAILABLE, {"ok": False})

        def _answer(self, status: HTTPStatus, body: Mapping[str, Any]) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """A line every few seconds would say nothing."""

    server = ThreadingHTTPServer((HOST, port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="laneway-health", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
