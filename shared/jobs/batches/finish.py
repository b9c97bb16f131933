"""Joins the parts of a batch's chunks, in order, into its files, and publishes these by one write.

What is long enough is copied within S3; the rest is read and sent, one part at a time, so memory
does not grow with the batch. Uploads in progress are named in the row: another finisher goes on with
them, and with the parts that they have.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import orjson

from shared.errors import NotFoundError
from shared.jobs.batches.facts import tell_nobody
from shared.jobs.batches.files import (
    ERRORS,
    JOINED,
    LINES_TYPE,
    MANIFEST,
    OUTPUT,
    REFUSED,
    file_key,
)
from shared.jobs.batches.messages import batch_message
from shared.jobs.batches.plan import plan_parts
from shared.jobs.page import iso_time
from shared.results.batches import Held, Leased
from shared.results.objects import UPLOAD_PART_BYTES_MIN, Span
from shared.schema.wire import JSON_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from shared.jobs.clock import Clock
    from shared.jobs.work import Lease
    from shared.queues.protocol import Queue
    from shared.results.batches import BatchKey, BatchRow, BatchStore, ChunkRow
    from shared.results.objects import ObjectStore

CONTINUED_DUE_S: Final = 120.0
READ_BYTES_MAX: Final = 2 * UPLOAD_PART_BYTES_MIN
"""A file of up to so many bytes in one part is read and written whole."""
GAPS_MAX: Final = 1000
"""Ranges of lines that were not run, as the manifest of a canceled batch lists them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishWorker:
    """Everything that the finisher asks and tells."""

    batches: BatchStore
    objects: ObjectStore
    finish: Queue
    bucket: str
    clock: Clock
    threads: int = 8
    """Copies within S3 at once."""
    told: Callable[[BatchRow], None] = tell_nobody
    """Of each batch that has ended."""


def finish_batch(
    worker: FinishWorker, key: BatchKey, *, lease: Lease, until_s: float
) -> float | None:
    """Join the files of a batch and end it, as far as the time allows.

    Gives the seconds after which the message should come again where another finisher is at work;
    None: this message is done.
    """
    now = worker.clock()
    found = worker.batches.lease(
        key, step="finalizing", owner=lease.owner, until=lease.until, now=now
    )
    if isinstance(found, Held):
        return max(0.0, found.until - now)
    if isinstance(found, Leased) and not _Finish(worker, found.row, until_s).run():
        due_at = worker.clock() + CONTINUED_DUE_S
        worker.batches.release(key, fence=found.row.fence, due_at=due_at)
        worker.finish.send(batch_message(key), tenant=key.tenant)
    return None


@dataclass(slots=True)
class _Found:
    """What the chunks have published, in order."""

    spans: dict[str, list[Span]] = field(default_factory=lambda: {name: [] for name in JOINED})
    gaps: list[dict[str, int]] = field(default_factory=list)
    lines_missing: int = 0


class _Finish:
    """One lease of a batch that is being finished."""

    def __init__(self, worker: FinishWorker, row: BatchRow, until_s: float) -> None:
        self._worker = worker
        self._row = row
        self._until_s = until_s
        self._uploads = dict(row.uploads)

    def run(self) -> bool:
        """Whether it was done before the time ended."""
        found = self._walk()
        for name in JOINED:
            if not self._join(name, found.spans[name]):
                return False
        row, now = self._row, self._worker.clock()
        files = {
            name: sum(span.size_bytes for span in spans) for name, spans in found.spans.items()
        }
        files = {name: size for name, size in files.items() if size}
        manifest = orjson.dumps(self._manifest(files, found, now), option=orjson.OPT_INDENT_2)
        self._put(MANIFEST, manifest, JSON_TYPE)
        files[MANIFEST] = len(manifest)
        if self._worker.batches.finish(row.key, fence=row.fence, files=files, now=now):
            self._worker.told(replace(row, status=row.ending, files=files, finished_at=now))
        return True

    def _walk(self) -> _Found:
        found = _Found()
        for chunk in self._worker.batches.chunks(self._row.key):
            for name, span in self._spans(chunk):
                found.spans[name].append(span)
            left = chunk.begin.line + chunk.lines - chunk.next.line
            if chunk.status != "done" and left:
                found.lines_missing += left
                if len(found.gaps) < GAPS_MAX:
                    found.gaps.append({"first_line": chunk.next.line, "lines": left})
        return found

    def _spans(self, chunk: ChunkRow) -> Iterator[tuple[str, Span]]:
        for part in chunk.parts:
            sizes = {
                OUTPUT: part.output_bytes,
                ERRORS: part.errors_bytes,
                REFUSED: part.refused_bytes,
            }
            for name, size in sizes.items():
                if size:
                    yield name, Span(self._key(f"{part.prefix}/{name}"), 0, size)

    def _join(self, name: str, spans: Sequence[Span]) -> bool:
        """Make one file of its spans; False: the time ended before."""
        parts = plan_parts(spans)
        if not parts:
            return True
        if len(parts) == 1 and sum(span.size_bytes for span in parts[0]) <= READ_BYTES_MAX:
            self._put(name, self._read(parts[0]), LINES_TYPE)
            return True
        return self._upload(name, parts)

    def _upload(self, name: str, parts: Sequence[Sequence[Span]]) -> bool:
        upload = self._uploads.get(name)
        there: dict[int, str] = {}
        if upload is not None:
            try:
                there = dict(self._worker.objects.uploaded(self._key(name), upload))
            except NotFoundError:  # another finisher has completed it since
                if self._is_there(name, sum(span.size_bytes for part in parts for span in part)):
                    return True
                upload = None
        if upload is None:
            upload = self._worker.objects.begin_upload(self._key(name), content_type=LINES_TYPE)
            self._uploads[name] = upload
            row = self._row
            if not self._worker.batches.uploads(row.key, fence=row.fence, uploads=self._uploads):
                return True  # the lease is lost; so is the right to publish
        return self._fill(name, upload, parts, there)

    def _fill(
        self, name: str, upload: str, parts: Sequence[Sequence[Span]], there: dict[int, str]
    ) -> bool:
        """Send the parts that are not there yet: copies at once, what has to be read in turn."""
        key, objects = self._key(name), self._worker.objects
        missing = [number for number in range(1, len(parts) + 1) if number not in there]
        copied = [number for number in missing if _is_copied(parts[number - 1])]
        with ThreadPoolExecutor(self._worker.threads, "laneway-copies") as threads:

            def copy(number: int) -> tuple[int, str] | None:
                if time.monotonic() >= self._until_s:
                    return None
                [span] = parts[number - 1]
                return number, objects.copy_part(key, upload, number, span)

            done = list(threads.map(copy, copied))
        there |= dict(item for item in done if item is not None)
        for number in missing:
            if number in there:
                continue
            if time.monotonic() >= self._until_s:
                return False
            there[number] = objects.upload_part(key, upload, number, self._read(parts[number - 1]))
        objects.complete_upload(key, upload, [there[number + 1] for number in range(len(parts))])
        return True

    def _read(self, part: Sequence[Span]) -> bytearray:
        """The bytes of a part: a few MiB, filled in place."""
        data = bytearray(sum(span.size_bytes for span in part))
        at = 0
        for span in part:
            for piece in self._worker.objects.read(span.key, start=span.start, end=span.end):
                data[at : at + len(piece)] = piece
                at += len(piece)
        return data

    def _is_there(self, name: str, size_bytes: int) -> bool:
        try:
            return self._worker.objects.stat(self._key(name)).size_bytes == size_bytes
        except NotFoundError:
            return False

    def _manifest(self, files: dict[str, int], found: _Found, now: float) -> dict[str, Any]:
        row = self._row
        return {
            "id": row.key.id,
            "status": row.ending,
            "endpoint": row.endpoint,
            "model": row.model,
            "version": row.version,
            "input": {"place": row.input, "etag": row.etag, "size_bytes": row.input_bytes},
            "counts": {"total": row.total, "succeeded": row.succeeded, "failed": row.failed},
            "blank_lines": row.blank,
            "chunks": row.cursor.chunks,
            "lines_not_run": found.lines_missing,
            "not_run": found.gaps,
            "created_at": iso_time(row.created_at),
            "started_at": None if row.started_at is None else iso_time(row.started_at),
            "finished_at": iso_time(now),
            "metadata": dict(row.metadata),
            "retry_of": row.retry_of,
            "files": {
                name: {"uri": f"s3://{self._worker.bucket}/{self._key(name)}", "size_bytes": size}
                for name, size in files.items()
            },
        }

    def _put(self, name: str, data: bytes | bytearray, content_type: str) -> None:
        self._worker.objects.put(self._key(name), data, content_type=content_type)

    def _key(self, name: str) -> str:
        return file_key(self._row.key, name)


def _is_copied(part: Sequence[Span]) -> bool:
    """Whether S3 makes the part itself: it copies a range only of an object of more than 5 MiB.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html
    """
    return len(part) == 1 and part[0].size_bytes > UPLOAD_PART_BYTES_MIN
