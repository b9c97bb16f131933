"""The page at `/docs`: one file, no other host, and the headers that hold it to that."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

DOCS_FILE: Final = Path(__file__).with_name("docs.html")

_INLINE: Final = {
    "script-src": re.compile(r"<script>(.*?)</script>", re.DOTALL),
    "style-src": re.compile(r"<style>(.*?)</style>", re.DOTALL),
}


@cache
def docs_html() -> bytes:
    """The page; it reads `openapi.json` from beside its own address."""
    return DOCS_FILE.read_bytes()


def docs_headers(*, server_url: str | None = None) -> dict[str, str]:
    """Headers for the page, lower-case.

    The policy lets its own inline script and style run, by their digests, and lets it call its
    own origin and that of `server_url`, nothing else.
    """
    connect = " ".join(("'self'", *_origin(server_url)))
    directives = [
        "default-src 'none'",
        *(f"{directive} {_digests(directive)}" for directive in _INLINE),
        f"connect-src {connect}",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    return {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": "; ".join(directives),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
    }


@cache
def _digests(directive: str) -> str:
    """The sources that a browser computes for the inline blocks: SHA-256 of their exact text."""
    blocks = _INLINE[directive].findall(docs_html().decode())
    return " ".join(f"'sha256-{_digest(block)}'" for block in blocks)


def _digest(block: str) -> str:
    return base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()


def _origin(server_url: str | None) -> tuple[str, ...]:
    if not server_url:
        return ()
    parts = urlsplit(server_url)
    return (f"{parts.scheme}://{parts.netloc}",)
