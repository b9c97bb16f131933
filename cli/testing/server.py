"""A real HTTP server on 127.0.0.1 in front of the gateway, for clients that need a socket."""

from __future__ import annotations

from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Final

from cli.testing.listening import listening

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.testing.gateway import Gateway


_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


@contextmanager
def listen(gateway: Gateway) -> Iterator[str]:
    """Serve until the block ends, on a free port; gives `host:port`."""
    with listening(_handler_of(gateway)) as address:
        yield address


def _handler_of(gateway: Gateway) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # One segment for headers and body: without it each answer waits for a delayed ACK.
        wbufsize = -1

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name: ",".join(self.headers.get_all(name, [])) for name in self.headers}
            answer = gateway.handle(self.command, self.path, headers, body)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)
            self.wfile.flush()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """The functions write their own lines."""

    for method in _METHODS:
        setattr(Handler, f"do_{method}", Handler._answer)  # noqa: SLF001 - the class is our own
    return Handler
