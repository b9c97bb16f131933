"""Bytes too large for a row: where they are kept, and the claim check that decides.

An object is written before the row or message that names it, and never changes: its key ends in
its digest. Behind the `PayloadStore` protocol are a store in memory, here, and one on S3
(`shared.results.s3`); both pass one contract suite.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from shared.errors import InternalError, NotFoundError, TooLargeError
from shared.limits import DECODED_BODY_BYTES_MAX, JOB_INLINE_BYTES_MAX
from shared.results.rows import Payload

if TYPE_CHECKING:
    from collections.abc import Mapping

BINARY_TYPE: Final = "application/octet-stream"
_SCHEME: Final = "s3://"
_DIGEST_LENGTH: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A place to upload to: POST `fields` as a multipart form with the file as its last field."""

    url: str
    fields: Mapping[str, str]


class PayloadStore(Protocol):
    """Objects of the stage's bucket by their key, and of other buckets by their `s3://` URI.

    Raises `StoreUnavailableError` when the store cannot be reached, is throttled or refuses us.
    """

    def put(self, key_or_uri: str, data: bytes, *, content_type: str) -> None:
        """Write an object whole; a reader never sees half of it."""

    def get(self, key_or_uri: str, *, max_bytes: int) -> bytes:
        """Read an object.

        Raises `TooLargeError` before more than `max_bytes` are read, `NotFoundError` where there is
        no object or, outside our bucket, none that may be read.
        """

    def delete(self, key: str) -> None:
        """Remove an object; nothing where there is none."""

    def copy_to(self, key: str, uri: str) -> None:
        """Copy an object of our bucket to a URI; raises `NotFoundError` where there is none."""

    def presign_get(self, key: str, *, expires_s: int) -> str:
        """A URL that anybody may read the object at, until it expires."""

    def presign_upload(self, key: str, *, max_bytes: int, expires_s: int) -> Upload:
        """A place where anybody may write this object, of up to `max_bytes`, until it expires."""


def claim_check(
    store: PayloadStore,
    data: bytes,
    *,
    key: str,
    content_type: str = BINARY_TYPE,
    header_length: int | None = None,
) -> Payload:
    """The payload of a row: inline while it is small, else written to `key`/digest first.

    The digest is in the key because an id can be used twice: the second submission is refused, and
    must not have replaced the bytes of the first.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    if len(data) <= JOB_INLINE_BYTES_MAX:
        return Payload(
            size_bytes=len(data), sha256=sha256, inline=data, header_length=header_length
        )
    place = f"{key}/{sha256[:_DIGEST_LENGTH]}"
    store.put(place, data, content_type=content_type)
    return Payload(size_bytes=len(data), sha256=sha256, s3_key=place, header_length=header_length)


def load(
    store: PayloadStore, payload: Payload, *, max_bytes: int = DECODED_BODY_BYTES_MAX
) -> bytes:
    """The bytes of a payload, held against its size and SHA-256 where these are known.

    Raises as `PayloadStore.get` does; `InternalError` where the object is not what was written.
    """
    data = payload.inline
    if data is None:
        if payload.s3_key is None:
            raise InternalError("the payload is neither in the row nor on S3")
        data = store.get(payload.s3_key, max_bytes=max_bytes)
    if payload.sha256:
        _verify(data, payload)
    return data


def parse_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`; raises `ValueError` for anything else."""
    bucket, _, key = uri.removeprefix(_SCHEME).partition("/")
    if not uri.startswith(_SCHEME) or not bucket or not key:
        raise ValueError(f"{uri!r} is not s3://bucket/key")
    return bucket, key


def is_uri(key_or_uri: str) -> bool:
    """Whether this names an object by its URI, not by its key in our bucket."""
    return key_or_uri.startswith(_SCHEME)


def too_large(key_or_uri: str, size_bytes: int, max_bytes: int) -> TooLargeError:
    """The error for an object past the caller's limit."""
    return TooLargeError(f"{key_or_uri} has {size_bytes} bytes; at most {max_bytes} are read")


def not_found(key_or_uri: str) -> NotFoundError:
    """The error for an object that is not there, or that may not be read, which looks the same."""
    return NotFoundError(f"there is no object at {key_or_uri}, or it may not be read")


def _verify(data: bytes, payload: Payload) -> None:
    if len(data) != payload.size_bytes:
        raise InternalError(f"the payload has {len(data)} bytes, {payload.size_bytes} were written")
    if hashlib.sha256(data).hexdigest() != payload.sha256:
        raise InternalError("the payload is not what was written: its SHA-256 differs")


class MemoryPayloadStore:
    """Implements `PayloadStore` in a dict by URI; its URLs lead nowhere and never expire."""

    def __init__(self, *, bucket: str = "memory") -> None:
        self._bucket = bucket
        self._objects: dict[str, bytes] = {}

    def put(self, key_or_uri: str, data: bytes, *, content_type: str) -> None:  # noqa: ARG002  nobody reads it here
        """Write an object."""
        self._objects[self._uri(key_or_uri)] = bytes(data)

    def get(self, key_or_uri: str, *, max_bytes: int) -> bytes:
        """Read an object."""
        data = self._objects.get(self._uri(key_or_uri))
        if data is None:
            raise not_found(key_or_uri)
        if len(data) > max_bytes:
            raise too_large(key_or_uri, len(data), max_bytes)
        return data

    def delete(self, key: str) -> None:
        """Remove an object."""
        self._objects.pop(self._uri(key), None)

    def copy_to(self, key: str, uri: str) -> None:
        """Copy an object."""
        data = self._objects.get(self._uri(key))
        if data is None:
            raise not_found(key)
        self._objects[self._uri(uri)] = data

    def presign_get(self, key: str, *, expires_s: int) -> str:
        """A URL that names the object."""
        return f"memory://{self._bucket}/{key}?expires={expires_s}"

    def presign_upload(self, key: str, *, max_bytes: int, expires_s: int) -> Upload:
        """A place that names the object."""
        return Upload(
            url=f"memory://{self._bucket}",
            fields={"key": key, "max_bytes": str(max_bytes), "expires": str(expires_s)},
        )

    def _uri(self, key_or_uri: str) -> str:
        if is_uri(key_or_uri):
            parse_uri(key_or_uri)
            return key_or_uri
        return f"{_SCHEME}{self._bucket}/{key_or_uri}"
