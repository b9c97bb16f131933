"""A bucket behind HTTP that gives ranges, and does what a test tells it to do wrong."""

from __future__ import annotations

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import pytest


class Bucket(NamedTuple):
    """What is in it, what was asked of it, and what it shall do next."""

    env: dict[str, str]
    objects: dict[str, bytes]
    asked: list[tuple[str, str]]
    """Path and range of each request."""
    wrongs: list[str]
    """Taken one a request: a status, `whole` (the object in place of the range), `dead` (half of it), `silent`."""
    together: list[threading.Barrier]
    """Where there is one, a request is answered when as many are here as it waits for."""
    over: threading.Event
    """When the test is; until then a silent answer waits."""


def _handler(bucket):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            asked = self.headers.get("range", "")
            bucket.asked.append((self.path, asked))
            assert "AWS4-HMAC-SHA256 Credential=AKIA/" in self.headers["authorization"]
            if bucket.together:
                bucket.together[0].wait(timeout=30)
            wrong = bucket.wrongs.pop() if bucket.wrongs else ""
            data = bucket.objects.get(self.path.removeprefix("/models/"))
            if data is None or wrong.isdigit():
                return self.answer(int(wrong) if data is not None else 404, b"<Error/>")
            if wrong == "silent":
                self.close_connection = True
                return bucket.over.wait(timeout=30)
            if wrong == "whole":
                return self.answer(200, data)
            start, end = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", asked).groups())
            part = data[start : end + 1]
            return self.answer(206, part, cut=wrong == "dead")

        def answer(self, status, data, *, cut=False):
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if cut else data)
            self.close_connection = cut

        def log_message(self, *_):
            """Nobody reads it."""

    return Handler


@pytest.fixture
def bucket():
    found = Bucket({}, {}, [], [], [], threading.Event())
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(found))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    found.env.update(
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{server.server_address[1]}",
        AWS_REGION="eu-west-1",
        AWS_ACCESS_KEY_ID="AKIA",
        AWS_SECRET_ACCESS_KEY="secret",
        AWS_SESSION_TOKEN="token",
    )
    yield found
    found.over.set()
    server.shutdown()
    server.server_close()
