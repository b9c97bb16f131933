"""A real HTTP server on 127.0.0.1 that records what it received and gives the answers it was told."""

from __future__ import annotations

import json
import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Received:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def header_json(self):
        size = self.headers.get("inference-header-content-length", len(self.body))
        return json.loads(self.body[: int(size)])


@dataclass
class Answer:
    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    missing_bytes: int = 0
    """How many bytes of the promised length never come: the connection breaks off."""
    hold: threading.Event | None = None


def json_answer(value, status=200, **headers):
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, json.dumps(value).encode(), {"content-type": "application/json"} | named)


class RecordingServer:
    """`endpoint` to call, `received` so far; answers come in order, the last one again and again."""

    def __init__(self, port):
        self.endpoint = f"http://127.0.0.1:{port}"
        self.received: list[Received] = []
        self._queue: deque[Answer] = deque()
        self._by_path: dict[str, Answer] = {}

    def will_answer(self, *answers):
        self._queue.extend(answers)

    def on(self, path, answer):
        self._by_path[path] = answer

    def next_answer(self, path):
        if path in self._by_path:
            return self._by_path[path]
        return self._queue.popleft() if len(self._queue) > 1 else self._queue[0]


@contextmanager
def recording_server():
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def _serve(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            recorder.received.append(Received(self.command, self.path, headers, body))
            answer = recorder.next_answer(self.path)
            if answer.hold is not None:
                answer.hold.wait(timeout=20)
            if answer.drop:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer.body) + answer.missing_bytes))
            self.end_headers()
            self.wfile.write(answer.body)
            if answer.missing_bytes:
                self.close_connection = True

        do_GET = do_POST = do_PUT = _serve  # noqa: N815  the names that http.server calls

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        recorder = RecordingServer(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield recorder
        finally:
            server.shutdown()
            thread.join()
