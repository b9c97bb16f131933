"""The instance's metadata service (IMDSv2): a session token first, then plain GETs.

`http.client` alone: it reads no proxy from the environment, and a poll every five seconds needs no
pool of connections. What an answer means is `gpu_workers/interruption.py`'s business.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

METADATA_URL: Final = "http://169.254.169.254"
"""Link-local: with the hop limit of 1 that the fleet sets, only the host's own network reaches it."""
TOKEN_PATH: Final = "/latest/api/token"  # noqa: S105 - a path
TOKEN_TTL_S: Final = 21_600
"""Six hours, the most that the service grants (EC2 user guide, read 2026-11-22)."""
REFRESH_BEFORE_S: Final = 300
"""A token is replaced so long before it lapses."""
TIMEOUT_S: Final = 1.0
ANSWER_BYTES_MAX: Final = 65_536
_OK: Final = 200
_UNAUTHORIZED: Final = 401
_NOT_FOUND: Final = 404


class MetadataError(Exception):
    """The metadata service did not answer, or not as it should; a later try may succeed."""


class Metadata(Protocol):
    """What an instance can be asked about itself."""

    def get(self, path: str) -> str | None:
        """The text at `path`; None where there is nothing (yet). Raises `MetadataError`."""


class MemoryMetadata:
    """Metadata in a dict, for tests and for machines that have none."""

    def __init__(self, texts: Mapping[str, str] | None = None) -> None:
        self.texts = dict(texts or {})
        self.reachable = True

    def get(self, path: str) -> str | None:
        """As the protocol says; a service that is not `reachable` raises."""
        if not self.reachable:
            raise MetadataError("the metadata service is not reachable")
        return self.texts.get(path)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    text: str


@dataclass(frozen=True, slots=True)
class _Token:
    value: str
    refresh_at: float
    """By `time.monotonic`: a corrected wall clock must not make a token older."""


class InstanceMetadata:
    """IMDSv2 over HTTP, used by one thread.

    The token is fetched at the first call, kept, and replaced before it lapses; a 401 (the instance
    was stopped and started, or its options changed) costs one new token and one more try.
    """

    def __init__(
        self,
        url: str = METADATA_URL,
        *,
        timeout_s: float = TIMEOUT_S,
        token_ttl_s: int = TOKEN_TTL_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"{url!r} is no http:// address of a metadata service")
        self._host = parts.hostname
        self._port = parts.port or 80
        self._timeout_s = timeout_s
        self._token_ttl_s = token_ttl_s
        self._monotonic = monotonic
        self._token: _Token | None = None

    def get(self, path: str) -> str | None:
        """The text at `path`; None for 404. Raises `MetadataError` for every other outcome."""
        answer = self._get(path)
        if answer.status == _UNAUTHORIZED:
            self._token = None
            answer = self._get(path)
        if answer.status == _NOT_FOUND:
            return None
        if answer.status != _OK:
            raise MetadataError(f"GET {path} answered {answer.status}")
        return answer.text

    def _get(self, path: str) -> _Answer:
        return self._ask("GET", path, {"X-aws-ec2-metadata-token": self._fresh_token()})

    def _fresh_token(self) -> str:
        if self._token is None or self._monotonic() >= self._token.refresh_at:
            asked_at = self._monotonic()
            ttl = {"X-aws-ec2-metadata-token-ttl-seconds": str(self._token_ttl_s)}
            answer = self._ask("PUT", TOKEN_PATH, ttl)
            if answer.status != _OK or not answer.text:
                raise MetadataError(f"PUT {TOKEN_PATH} answered {answer.status}")
            usable_s = self._token_ttl_s - min(REFRESH_BEFORE_S, self._token_ttl_s / 2)
            self._token = _Token(answer.text, asked_at + usable_s)
        return self._token.value

    def _ask(self, method: str, path: str, headers: Mapping[str, str]) -> _Answer:
        connection = HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        try:
            connection.request(method, path, headers=dict(headers))
            response = connection.getresponse()
            text = response.read(ANSWER_BYTES_MAX).decode("ascii")
        except (OSError, HTTPException, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise MetadataError(f"{method} {path} got no answer ({reason})") from error
        finally:
            connection.close()
        return _Answer(response.status, text)
