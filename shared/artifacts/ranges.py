"""Fetches one object from S3 in parallel ranges, straight into its file, and hashes it on the way.

The file is mapped: a range is read from the socket into its place and copied nowhere. SHA-256 goes through the
file in order, behind the ranges that have arrived.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import threading
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Final

from shared.artifacts.signing import Address, Credentials, path_of, signed_headers
from shared.errors import ModelUnavailableError

if TYPE_CHECKING:
    from pathlib import Path

RANGE_BYTES: Final = 8 * 1024 * 1024
STREAMS: Final = 8
"""At once. One connection to S3 has some 50 to 90 MB/s, a function's network several times that."""
ATTEMPTS: Final = 3
TIMEOUT_S: Final = 20.0
PARTIAL_CONTENT: Final = 206


class FetchError(Exception):
    """One answer of S3 that is not the range that was asked for."""


def fetch(
    address: Address,
    key: str,
    target: Path,
    *,
    size_bytes: int,
    credentials: Credentials,
    range_bytes: int = RANGE_BYTES,
    streams: int = STREAMS,
) -> str:
    """Write the object, of which the size is known, to `target`; gives its SHA-256 in hex.

    Raises ModelUnavailableError, and leaves nothing, where a range cannot be had or there is no room.
    """
    partial = target.with_name(f".{target.name}.partial")
    try:
        with partial.open("w+b") as file:
            os.posix_fallocate(
                file.fileno(), 0, size_bytes
            )  # a full disk is an error here, a signal later
            with mmap.mmap(file.fileno(), size_bytes) as data:
                ranges = [
                    (start, min(start + range_bytes, size_bytes))
                    for start in range(0, size_bytes, range_bytes)
                ]
                found = _Fetch(address, key, credentials, data, ranges).run(streams)
        partial.rename(target)
    except OSError as error:
        raise ModelUnavailableError(
            f"a model's file cannot be fetched: {error.strerror}"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return found


class _Fetch:
    """The ranges of one object, taken by several threads in order."""

    def __init__(
        self,
        address: Address,
        key: str,
        credentials: Credentials,
        data: mmap.mmap,
        ranges: list[tuple[int, int]],
    ) -> None:
        self._address, self._credentials = address, credentials
        self._path = path_of(address, key)
        self._data = data
        self._todo = iter(ranges)
        self._taking = threading.Lock()
        self._arrived = {span: threading.Event() for span in ranges}
        self._failure: Exception | None = None

    def run(self, streams: int) -> str:
        threads = [
            threading.Thread(target=self._work, daemon=True)
            for _ in range(min(streams, len(self._arrived)))
        ]
        for thread in threads:
            thread.start()
        digest = hashlib.sha256()
        for (start, end), arrived in self._arrived.items():
            arrived.wait()
            if self._failure is not None:
                break
            with memoryview(self._data) as view, view[start:end] as part:
                digest.update(part)
        for thread in threads:
            thread.join()
        if self._failure is not None:
            raise ModelUnavailableError(
                f"a model's file cannot be fetched from S3: {self._failure}"
            ) from self._failure
        return digest.hexdigest()

    def _work(self) -> None:
        connection: HTTPConnection | None = None
        while self._failure is None and (span := self._take()) is not None:
            try:
                connection = self._insist(connection, *span)
            except (OSError, HTTPException, FetchError) as error:
                self._failure = error
                for arrived in self._arrived.values():
                    arrived.set()
            self._arrived[span].set()
        if connection is not None:
            connection.close()

    def _take(self) -> tuple[int, int] | None:
        with self._taking:
            return next(self._todo, None)

    def _insist(self, connection: HTTPConnection | None, start: int, end: int) -> HTTPConnection:
        """The range, in a few attempts, each after a failure over a connection of its own."""
        for attempt in range(1, ATTEMPTS + 1):
            connection = connection or self._connect()
            try:
                self._read(connection, start, end)
            except (OSError, HTTPException, FetchError):
                connection.close()
                connection = None
                if attempt == ATTEMPTS:
                    raise
            else:
                return connection
        raise AssertionError("unreachable")

    def _connect(self) -> HTTPConnection:
        kind = HTTPSConnection if self._address.secure else HTTPConnection
        return kind(self._address.host, timeout=TIMEOUT_S)

    def _read(self, connection: HTTPConnection, start: int, end: int) -> None:
        headers = signed_headers(self._address, self._path, self._credentials)
        connection.request(
            "GET", self._path, headers={**headers, "range": f"bytes={start}-{end - 1}"}
        )
        answer = connection.getresponse()
        length = answer.headers.get("content-length")
        if answer.status != PARTIAL_CONTENT or length != str(end - start):
            with suppress(OSError, HTTPException):
                answer.read(1024)
            raise FetchError(f"it answered {answer.status} for bytes {start} to {end - 1}")
        with memoryview(self._data) as view, view[start:end] as part:
            at = 0
            while at < len(part):
                with part[at:] as rest:
                    count = answer.readinto(rest)
                if not count:
                    raise FetchError(f"it ended {len(part) - at} bytes too early")
                at += count
            answer.read()  # the end of this answer, so that the connection takes the next request
