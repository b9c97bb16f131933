"""A batch as its caller sees it: the row turned into the public page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.jobs.batches.files import ERRORS, MANIFEST, OUTPUT, REFUSED, file_key
from shared.jobs.page import iso_time, job_error
from shared.results.payloads import is_uri
from shared.schema.batch import Batch, BatchCounts, BatchFile, BatchFiles, BatchPage

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.results.batches import BatchList, BatchRow


def batch_page(row: BatchRow, *, bucket: str, presign: Callable[[str], str] | None = None) -> Batch:
    """`GET /v2/batches/{id}`; `presign` gives the address at which a file can be read."""
    failure = row.failure
    return Batch(
        id=row.key.id,
        status=row.status,
        endpoint=row.endpoint,
        model=row.model,
        version=row.version,
        input=row.input if is_uri(row.input) else f"s3://{bucket}/{row.input}",
        counts=BatchCounts(total=row.total, succeeded=row.succeeded, failed=row.failed),
        created_at=iso_time(row.created_at),
        started_at=None if row.started_at is None else iso_time(row.started_at),
        finished_at=None if row.finished_at is None else iso_time(row.finished_at),
        expires_at=iso_time(row.ttl_at),
        not_before=iso_time(row.not_before) if row.not_before else None,
        window=row.window or None,
        error=None if failure is None else job_error(failure),
        metadata=dict(row.metadata),
        retry_of=row.retry_of,
        files=_files(row, bucket, presign),
    )


def batch_list(page: BatchList, *, bucket: str) -> BatchPage:
    """`GET /v2/batches`; without addresses of files, which are made one by one."""
    batches = tuple(batch_page(row, bucket=bucket) for row in page.rows)
    return BatchPage(batches=batches, cursor=page.cursor)


def _files(row: BatchRow, bucket: str, presign: Callable[[str], str] | None) -> BatchFiles:
    def file(name: str) -> BatchFile | None:
        if name not in row.files:
            return None
        key = file_key(row.key, name)
        url = None if presign is None else presign(key)
        return BatchFile(uri=f"s3://{bucket}/{key}", size_bytes=row.files[name], url=url)

    return BatchFiles(
        output=file(OUTPUT), errors=file(ERRORS), refused=file(REFUSED), manifest=file(MANIFEST)
    )
