"""Payloads on S3, through a boto3 client of `shared.aws.make_client`.

S3 answers 403, not 404, for a missing object where the role may not list the bucket. So the stacks
grant `s3:ListBucket` on the stage's bucket, and there a 403 is our own mistake; elsewhere it means
that the caller named something that we cannot read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from shared.aws import error_code, translated
from shared.errors import StoreUnavailableError
from shared.results.payloads import Upload, is_uri, not_found, parse_uri, too_large

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

_MISSING: Final = frozenset({"NoSuchKey", "NoSuchBucket", "404", "NotFound"})
_DENIED: Final = frozenset({"AccessDenied", "403", "Forbidden"})


class S3PayloadStore:
    """Implements `PayloadStore` on one bucket."""

    def __init__(self, client: S3Client, *, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def put(self, key_or_uri: str, data: bytes, *, content_type: str) -> None:
        """Write an object whole."""
        bucket, key = self._place(key_or_uri)
        with _named():
            self._client.put_object(Bucket=bucket, Key=key, Body=data, ContentType=content_type)

    def get(self, key_or_uri: str, *, max_bytes: int) -> bytes:
        """Read an object of up to `max_bytes`."""
        with _named():
            answer = self._open(key_or_uri)
            with answer["Body"] as body:
                if answer["ContentLength"] > max_bytes:
                    raise too_large(key_or_uri, answer["ContentLength"], max_bytes)
                return body.read(max_bytes + 1)

    def delete(self, key: str) -> None:
        """Remove an object."""
        with _named():
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def copy_to(self, key: str, uri: str) -> None:
        """Copy an object of our bucket to a URI; S3 copies up to 5 GB in one call."""
        bucket, target = parse_uri(uri)
        with _named():
            try:
                self._client.copy_object(
                    Bucket=bucket, Key=target, CopySource={"Bucket": self._bucket, "Key": key}
                )
            except ClientError as error:
                if error_code(error) != "NoSuchKey":
                    raise
                raise not_found(key) from error

    def presign_get(self, key: str, *, expires_s: int) -> str:
        """A URL that anybody may read the object at, until it expires."""
        with _named():
            return self._client.generate_presigned_url(
                "get_object", Params={"Bucket": self._bucket, "Key": key}, ExpiresIn=expires_s
            )

    def presign_upload(self, key: str, *, max_bytes: int, expires_s: int) -> Upload:
        """A POST policy for exactly this key; S3 itself refuses more than `max_bytes`."""
        with _named():
            form = self._client.generate_presigned_post(
                self._bucket,
                key,
                Conditions=[["content-length-range", 0, max_bytes]],
                ExpiresIn=expires_s,
            )
        return Upload(url=form["url"], fields=form["fields"])

    def _open(self, key_or_uri: str) -> GetObjectOutputTypeDef:
        bucket, key = self._place(key_or_uri)
        try:
            return self._client.get_object(Bucket=bucket, Key=key)
        except ClientError as error:
            code = error_code(error)
            if code in _MISSING or (code in _DENIED and is_uri(key_or_uri)):
                raise not_found(key_or_uri) from error
            raise

    def _place(self, key_or_uri: str) -> tuple[str, str]:
        return parse_uri(key_or_uri) if is_uri(key_or_uri) else (self._bucket, key_or_uri)


def _named() -> AbstractContextManager[None]:
    return translated(StoreUnavailableError, "the bucket of payloads")
