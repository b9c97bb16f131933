"""Objects too large to be held: read in pieces, written as a stream, joined without being read.

Beside `shared.results.payloads`, which reads and writes whole objects. Behind the `ObjectStore`
protocol are a store in memory, here, and one on S3 (`shared.results.objects_s3`); both pass one
contract suite, and both refuse what S3 refuses.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol
from uuid import uuid4

from shared.errors import ConflictError, InternalError, NotFoundError
from shared.limits import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PIECE_BYTES: Final = MIB
"""What a reader holds at once."""
UPLOAD_PART_BYTES_MIN: Final = 5 * MIB
"""Every part of a multipart upload but its last (Amazon S3, multipart limits, read 2026-11-21)."""
UPLOAD_PARTS_MAX: Final = 10_000
STREAM_PART_BYTES: Final = UPLOAD_PART_BYTES_MIN
"""What a writer holds at most before it sends it, beside one write."""


class Stat(NamedTuple):
    """What is known of an object without reading it."""

    size_bytes: int
    etag: str


class Span(NamedTuple):
    """Bytes `start` to `end` of an object."""

    key: str
    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        """How many they are."""
        return self.end - self.start


class ObjectWriter(Protocol):
    """An object on its way: it appears whole at `close`, or never."""

    def write(self, data: bytes) -> None:
        """Add to its end."""

    def close(self) -> int:
        """Finish it and give its size; nothing is written where it would be empty."""

    def abort(self) -> None:
        """Forget what was written."""


class ObjectStore(Protocol):
    """Objects of the stage's bucket by their key, and of other buckets by their `s3://` URI.

    Raises `StoreUnavailableError` when the store cannot be reached, and `NotFoundError` where there
    is no object, or none that may be read.
    """

    def stat(self, key_or_uri: str) -> Stat:
        """Size and ETag."""

    def read(
        self, key_or_uri: str, *, start: int = 0, end: int | None = None, etag: str | None = None
    ) -> Iterator[bytes]:
        """The bytes from `start` up to `end`, in pieces of up to `PIECE_BYTES`.

        Raises `ConflictError` where the object is not the one of `etag` any more.
        """

    def writer(self, key: str, *, content_type: str) -> ObjectWriter:
        """Write an object of our bucket as a stream."""

    def put(self, key: str, data: bytes | bytearray, *, content_type: str) -> None:
        """Write a small object whole."""

    def begin_upload(self, key: str, *, content_type: str) -> str:
        """Begin an object that is made of parts; gives the upload's id."""

    def uploaded(self, key: str, upload: str) -> Mapping[int, str]:
        """Parts that are there, by number from 1, with their ETags; raises `NotFoundError` for an upload that ended."""

    def upload_part(self, key: str, upload: str, number: int, data: bytes | bytearray) -> str:
        """Give the upload a part; its ETag comes back."""

    def copy_part(self, key: str, upload: str, number: int, source: Span) -> str:
        """Make bytes of another object a part, without reading them."""

    def complete_upload(self, key: str, upload: str, etags: Sequence[str]) -> None:
        """Make the object of its parts, in order; S3 refuses a small part that is not the last."""

    def presign_get(self, key: str, *, expires_s: int) -> str:
        """A URL that anybody may read the object at, until it expires."""


@dataclass(slots=True)
class _Upload:
    key: str
    parts: dict[int, bytes]


class MemoryObjectStore:
    """Implements `ObjectStore`; safe to use from several threads."""

    def __init__(self) -> None:
        self._objects: dict[str, tuple[bytes, str]] = {}
        """With an ETag of its own for each write."""
        self._uploads: dict[str, _Upload] = {}
        self._lock = Lock()

    def stat(self, key_or_uri: str) -> Stat:
        """Size and ETag."""
        data, etag = self._find(key_or_uri)
        return Stat(len(data), etag)

    def read(
        self, key_or_uri: str, *, start: int = 0, end: int | None = None, etag: str | None = None
    ) -> Iterator[bytes]:
        """The bytes, piece by piece."""
        data, found = self._find(key_or_uri)
        if etag is not None and etag != found:
            raise changed(key_or_uri)
        last = len(data) if end is None else min(end, len(data))
        for at in range(start, last, PIECE_BYTES):
            yield data[at : min(at + PIECE_BYTES, last)]

    def writer(self, key: str, *, content_type: str) -> ObjectWriter:
        """Write an object as a stream."""
        del content_type
        return _MemoryWriter(self, key)

    def put(self, key: str, data: bytes | bytearray, *, content_type: str) -> None:
        """Write an object whole."""
        del content_type
        with self._lock:
            self._objects[key] = bytes(data), _new_etag()

    def begin_upload(self, key: str, *, content_type: str) -> str:
        """Begin an object that is made of parts."""
        del content_type
        upload = uuid4().hex
        with self._lock:
            self._uploads[upload] = _Upload(key, {})
        return upload

    def uploaded(self, key: str, upload: str) -> Mapping[int, str]:
        """Parts that are there."""
        with self._lock:
            parts = dict(self._open(key, upload).parts)
        return {number: _etag(data) for number, data in parts.items()}

    def upload_part(self, key: str, upload: str, number: int, data: bytes | bytearray) -> str:
        """Give the upload a part."""
        with self._lock:
            self._open(key, upload).parts[number] = bytes(data)
        return _etag(data)

    def copy_part(self, key: str, upload: str, number: int, source: Span) -> str:
        """Make bytes of another object a part."""
        data = self._find(source.key)[0]
        if len(data) <= UPLOAD_PART_BYTES_MIN:
            raise InternalError("InvalidRequest: a range of an object of 5 MiB or less")
        return self.upload_part(key, upload, number, data[source.start : source.end])

    def complete_upload(self, key: str, upload: str, etags: Sequence[str]) -> None:
        """Make the object of its parts."""
        with self._lock:
            parts = self._open(key, upload).parts
            ordered = [parts[number] for number in range(1, len(etags) + 1)]
            if any(len(data) < UPLOAD_PART_BYTES_MIN for data in ordered[:-1]):
                raise InternalError("EntityTooSmall: a part that is not the last is under 5 MiB")
            self._objects[key] = b"".join(ordered), _new_etag()
            del self._uploads[upload]

    def presign_get(self, key: str, *, expires_s: int) -> str:
        """A URL that leads nowhere, but names the object."""
        return f"memory:///{key}?expires={expires_s}"

    def _find(self, key_or_uri: str) -> tuple[bytes, str]:
        with self._lock:
            found = self._objects.get(key_or_uri)
        if found is None:
            raise missing(key_or_uri)
        return found

    def _open(self, key: str, upload: str) -> _Upload:
        found = self._uploads.get(upload)
        if found is None or found.key != key:
            raise missing(f"{key} (upload)")
        return found


class _MemoryWriter:
    def __init__(self, store: MemoryObjectStore, key: str) -> None:
        self._store = store
        self._key = key
        self._data = bytearray()

    def write(self, data: bytes) -> None:
        self._data += data

    def close(self) -> int:
        if self._data:
            self._store.put(self._key, bytes(self._data), content_type="")
        return len(self._data)

    def abort(self) -> None:
        self._data.clear()


def missing(name: str) -> NotFoundError:
    """There is no such object."""
    return NotFoundError(f"there is no object {name!r}, or it may not be read")


def changed(name: str) -> ConflictError:
    """The object was written again since it was first looked at."""
    return ConflictError(f"{name!r} was changed after the batch had begun to read it")


def _new_etag() -> str:
    return f'"{uuid4().hex}"'


def _etag(data: bytes | bytearray) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
