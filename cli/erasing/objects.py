"""Removes a tenant's objects: all their versions, the markers of deleted ones, and unfinished uploads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cli.erasing.tally import in_parts
from cli.output import CommandError

if TYPE_CHECKING:
    from cli.erasing.tally import Tally

PREFIXES: Final = ("inputs", "results", "uploads", "batches")
_DELETED_AT_ONCE: Final = 1000


def remove_objects(s3: Any, *, bucket: str, tenant: str, tally: Tally) -> None:
    """One pass. Raises `CommandError` for an object that S3 does not delete."""
    for place in PREFIXES:
        prefix = f"{place}/{tenant}/"
        _abort_uploads(s3, bucket, prefix, tally)
        pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
        for page in pages:
            found = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
            named = [{"Key": it["Key"], "VersionId": it["VersionId"]} for it in found]
            for part in in_parts(named, _DELETED_AT_ONCE):
                _delete(s3, bucket, part)
                tally.count("object versions", len(part))


def _abort_uploads(s3: Any, bucket: str, prefix: str, tally: Tally) -> None:
    pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix)
    for page in pages:
        for upload in page.get("Uploads", ()):
            s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
            tally.count("unfinished uploads")


def _delete(s3: Any, bucket: str, named: list[dict[str, str]]) -> None:
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": named, "Quiet": True})
    for error in answer.get("Errors", ()):
        raise CommandError(f"S3 does not delete {error['Key']}: {error['Code']}; erase again")
