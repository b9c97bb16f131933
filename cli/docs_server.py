"""A server on 127.0.0.1 for the API's description, its page, and calls passed on to the service.

The page calls this server, so the browser needs no CORS, and the credentials are added here, so the
browser never sees them. Whoever is not this page is refused: other sites' pages could otherwise
spend the user's credentials.
"""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

import httpx

if TYPE_CHECKING:
    from collections.abc import Mapping


# What describes a body or asks for one; all else belongs to a single hop.
PASSED_ON: Final = (
    "accept",
    "accept-encoding",
    "content-type",
    "content-encoding",
    "inference-header-content-length",
    "prefer",
    "x-api-key",
)
PASSED_BACK: Final = (
    "content-type",
    "content-encoding",
    "inference-header-content-length",
    "allow",
    "apigw-requestid",
    "retry-after",
    "location",
)


class Site(NamedTuple):
    """What is served: the page, the API's description, and where calls go."""

    page: bytes
    page_headers: Mapping[str, str]
    openapi: Mapping[str, Any]
    endpoint: str
    auth: httpx.Auth | None = None


class DocsServer(ThreadingHTTPServer):
    """Listens on 127.0.0.1 and waits for `serve_forever`; port 0 takes a free one.

    Raises `OSError` for a port in use.
    """

    daemon_threads = True

    def __init__(self, site: Site, *, port: int = 0) -> None:
        self.site = site
        self.upstream = httpx.Client(auth=site.auth, timeout=60.0)
        self.own = {
            "/docs": (site.page_headers, site.page),
            "/openapi.json": ({"content-type": "application/json"}, _described(site.openapi)),
        }
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.socket.getsockname()[1])

    def server_close(self) -> None:
        """Stop listening, and let go of the service."""
        super().server_close()
        self.upstream.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: DocsServer

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if not self._is_own_page():
            self._refuse(403, "this server answers its own page only")
        elif path == "/":
            self._answer(302, b"", {"location": "/docs"})
        elif path in self.server.own:
            headers, body = self.server.own[path]
            self._answer(200, body, headers)
        else:
            self._pass_on()

    def do_POST(self) -> None:
        if self._is_own_page():
            self._pass_on()
        else:
            self._refuse(403, "this server answers its own page only")

    def _is_own_page(self) -> bool:
        hosts = {f"127.0.0.1:{self.server.port}", f"localhost:{self.server.port}"}
        origin = self.headers.get("origin")
        is_own_origin = origin is None or urlsplit(origin).netloc in hosts
        is_path = self.path.startswith("/")  # "@host/" after the endpoint would name another host
        return self.headers.get("host") in hosts and is_own_origin and is_path

    def _pass_on(self) -> None:
        endpoint, upstream = self.server.site.endpoint, self.server.upstream
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
        try:
            with upstream.stream(
                self.command, endpoint + self.path, content=body, headers=headers
            ) as response:
                content = b"".join(response.iter_raw())
        except httpx.HTTPError as error:
            self._refuse(502, f"no answer from {endpoint}: {error}")
            return
        back = {name: response.headers[name] for name in PASSED_BACK if name in response.headers}
        self._answer(response.status_code, content, back)

    def _refuse(self, status: int, reason: str) -> None:
        self.close_connection = True  # a body that was not read must not become a request
        body = json.dumps({"error": reason}).encode()
        self._answer(status, body, {"content-type": "application/json"})

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class's name
        """The terminal belongs to the command."""


def _described(openapi: Mapping[str, Any]) -> bytes:
    """The description with this server as the one to call, and no key to fill in."""
    document = {name: value for name, value in openapi.items() if name != "security"}
    return json.dumps(document | {"servers": [{"url": "/"}]}).encode()
