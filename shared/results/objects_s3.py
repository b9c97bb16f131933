"""Large objects on S3, through a boto3 client of `shared.aws.make_client`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from shared.aws import error_code, translated
from shared.errors import InternalError, StoreUnavailableError
from shared.results.objects import (
    PIECE_BYTES,
    STREAM_PART_BYTES,
    ObjectWriter,
    Span,
    Stat,
    changed,
    missing,
)
from shared.results.payloads import is_uri, parse_uri

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from mypy_boto3_s3 import S3Client

_MISSING: Final = frozenset({"NoSuchKey", "NoSuchBucket", "NoSuchUpload", "404", "NotFound"})
_DENIED: Final = frozenset({"AccessDenied", "403", "Forbidden"})
_CHANGED: Final = frozenset({"PreconditionFailed", "412"})
_EMPTY_RANGE: Final = frozenset({"InvalidRange", "416"})


class S3ObjectStore:
    """Implements `ObjectStore` on one bucket."""

    def __init__(self, client: S3Client, *, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def stat(self, key_or_uri: str) -> Stat:
        """Size and ETag."""
        answer = self._call("head_object", key_or_uri)
        return Stat(answer["ContentLength"], answer["ETag"])

    def read(
        self, key_or_uri: str, *, start: int = 0, end: int | None = None, etag: str | None = None
    ) -> Iterator[bytes]:
        """The bytes, piece by piece; a connection that breaks is taken up where it broke."""
        at = start
        last = self.stat(key_or_uri).size_bytes if end is None else end
        while at < last:
            given: dict[str, Any] = {"Range": f"bytes={at}-{last - 1}"}
            if etag is not None:
                given["IfMatch"] = etag
            try:
                answer = self._call("get_object", key_or_uri, **given)
            except _EmptyRangeError:
                return
            before = at
            for piece in _pieces(answer):
                at += len(piece)
                yield piece
            if at == before:
                raise StoreUnavailableError("reading an object breaks off; try again later")

    def writer(self, key: str, *, content_type: str) -> ObjectWriter:
        """Write an object as a stream: one call while it is small, a multipart upload after that."""
        return _S3Writer(self, key, content_type)

    def put(self, key: str, data: bytes | bytearray, *, content_type: str) -> None:
        """Write an object whole."""
        self._call("put_object", key, Body=data, ContentType=content_type)

    def begin_upload(self, key: str, *, content_type: str) -> str:
        """Begin an object that is made of parts."""
        upload: str = self._call("create_multipart_upload", key, ContentType=content_type)[
            "UploadId"
        ]
        return upload

    def uploaded(self, key: str, upload: str) -> Mapping[int, str]:
        """Parts that are there."""
        found: dict[int, str] = {}
        after: dict[str, int] = {}
        while True:
            answer = self._call("list_parts", key, UploadId=upload, **after)
            found |= {part["PartNumber"]: part["ETag"] for part in answer.get("Parts", ())}
            if not answer.get("IsTruncated"):
                return found
            after = {"PartNumberMarker": answer["NextPartNumberMarker"]}

    def upload_part(self, key: str, upload: str, number: int, data: bytes | bytearray) -> str:
        """Give the upload a part."""
        answer = self._call("upload_part", key, UploadId=upload, PartNumber=number, Body=data)
        etag: str = answer["ETag"]
        return etag

    def copy_part(self, key: str, upload: str, number: int, source: Span) -> str:
        """Make bytes of another object a part."""
        answer = self._call(
            "upload_part_copy",
            key,
            UploadId=upload,
            PartNumber=number,
            CopySource={"Bucket": self._bucket, "Key": source.key},
            CopySourceRange=f"bytes={source.start}-{source.end - 1}",
        )
        etag: str = answer["CopyPartResult"]["ETag"]
        return etag

    def complete_upload(self, key: str, upload: str, etags: Sequence[str]) -> None:
        """Make the object of its parts."""
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
        self._call(
            "complete_multipart_upload", key, UploadId=upload, MultipartUpload={"Parts": parts}
        )

    def abort_upload(self, key: str, upload: str) -> None:
        """Forget an upload and its parts."""
        self._call("abort_multipart_upload", key, UploadId=upload)

    def presign_get(self, key: str, *, expires_s: int) -> str:
        """A URL that anybody may read the object at, until it expires."""
        with _named():
            return self._client.generate_presigned_url(
                "get_object", Params={"Bucket": self._bucket, "Key": key}, ExpiresIn=expires_s
            )

    def _call(self, method: str, key_or_uri: str, **given: Any) -> Any:
        bucket, key = self._bucket, key_or_uri
        if is_uri(key_or_uri):
            bucket, key = parse_uri(key_or_uri)
        with _named():
            try:
                return getattr(self._client, method)(Bucket=bucket, Key=key, **given)
            except ClientError as error:
                code = error_code(error)
                if code in _MISSING or (code in _DENIED and is_uri(key_or_uri)):
                    raise missing(key_or_uri) from error
                if code in _CHANGED:
                    raise changed(key_or_uri) from error
                if code in _EMPTY_RANGE:
                    raise _EmptyRangeError from error
                if code == "EntityTooSmall":
                    raise InternalError(
                        "EntityTooSmall: a part that is not the last is small"
                    ) from error
                raise


class _EmptyRangeError(Exception):
    """A range that begins after the end."""


class _S3Writer:
    def __init__(self, store: S3ObjectStore, key: str, content_type: str) -> None:
        self._store = store
        self._key = key
        self._type = content_type
        self._held = bytearray()
        self._size_bytes = 0
        self._upload: str | None = None
        self._etags: list[str] = []

    def write(self, data: bytes) -> None:
        self._held += data
        self._size_bytes += len(data)
        if len(self._held) >= STREAM_PART_BYTES:
            self._send()

    def close(self) -> int:
        if self._upload is None:
            if self._held:
                self._store.put(self._key, self._held, content_type=self._type)
            return self._size_bytes
        if self._held:
            self._send()
        self._store.complete_upload(self._key, self._upload, self._etags)
        return self._size_bytes

    def abort(self) -> None:
        self._held.clear()
        if self._upload is not None:
            self._store.abort_upload(self._key, self._upload)

    def _send(self) -> None:
        """What is held becomes a part; it is not copied for that."""
        if self._upload is None:
            self._upload = self._store.begin_upload(self._key, content_type=self._type)
        number = len(self._etags) + 1
        self._etags.append(self._store.upload_part(self._key, self._upload, number, self._held))
        self._held = bytearray()


def _pieces(answer: Any) -> Iterator[bytes]:
    """What comes of an answer's body until it ends or breaks."""
    with answer["Body"] as body:
        while True:
            try:
                piece = body.read(PIECE_BYTES)
            except Exception:  # noqa: BLE001  whatever broke the connection, the rest is asked for anew
                return
            if not piece:
                return
            yield piece


def _named() -> AbstractContextManager[None]:
    return translated(StoreUnavailableError, "the bucket of batches")
