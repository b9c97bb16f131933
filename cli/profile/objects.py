"""S3 on 127.0.0.1, as far as a function fetches its models from it: ranges of files, each connection at a rate.

What it gives a function is what one connection to S3 is known to give; that a function's network carries several of
them at once is taken for granted, and is shown by nothing here.
"""

from __future__ import annotations

import re
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Final

from cli.profile.served import Served

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

BUCKET: Final = "models"
MB_A_SECOND: Final = 60.0
"""Of one connection to S3: 50 to 90 were seen."""
_PIECE_BYTES: Final = 1 << 20
_RANGE: Final = re.compile(r"bytes=(\d+)-(\d+)")


class ObjectStore(Served):
    """`objects`: the files, by their keys."""

    def __init__(self, objects: Mapping[str, Path], *, mb_a_second: float = MB_A_SECOND) -> None:
        served = {f"/{BUCKET}/{key}": path for key, path in objects.items()}
        super().__init__(_handler(served, mb_a_second * 1e6))

    @property
    def env(self) -> dict[str, str]:
        """By which a function finds it in place of S3, and signs its requests as nobody."""
        return {
            "AWS_ENDPOINT_URL_S3": f"http://{self.address}",
            "AWS_ACCESS_KEY_ID": "profile",
            "AWS_SECRET_ACCESS_KEY": "profile",
        }


def _handler(served: Mapping[str, Path], bytes_a_second: float) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = served.get(self.path)
            if path is None:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            size_bytes = path.stat().st_size
            asked = _RANGE.fullmatch(self.headers.get("range", ""))
            start, end = (int(asked[1]), int(asked[2]) + 1) if asked else (0, size_bytes)
            self.send_response(HTTPStatus.PARTIAL_CONTENT if asked else HTTPStatus.OK)
            self.send_header("Content-Length", str(end - start))
            self.end_headers()
            self._give(path, start, end)

        def _give(self, path: Path, start: int, end: int) -> None:
            began_s, at = time.monotonic(), start
            with path.open("rb") as file:
                file.seek(start)
                while at < end:
                    at += self.wfile.write(file.read(min(_PIECE_BYTES, end - at)))
                    due_s = began_s + (at - start) / bytes_a_second
                    time.sleep(max(0.0, due_s - time.monotonic()))

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    return Handler
