"""Splits the input of a batch into chunks of whole lines, and has them run.

Reads the input once, in pieces, to find where lines end and how many there are. How far it came is
in the batch's row, so another splitter goes on where one was killed. Nothing runs before all is
split: a batch whose input cannot be read fails as a whole, and no line of it has run.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from shared.errors import ConflictError, LanewayError, MediaTypeError, NotFoundError, TooLargeError
from shared.jobs.batches.dispatch import begin
from shared.jobs.batches.facts import tell_nobody
from shared.jobs.batches.messages import batch_message
from shared.jobs.batches.window import opens_at
from shared.jobs.failures import failure_of
from shared.limits import BATCH_INPUT_BYTES_MAX, MIB
from shared.results.batches import ChunkRow, Cursor, Held, Leased, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from shared.jobs.clock import Clock
    from shared.jobs.work import Lease
    from shared.queues.protocol import Queue
    from shared.results.batches import BatchKey, BatchRow, BatchStore
    from shared.results.objects import ObjectStore, Stat

CHUNK_BYTES: Final = 8 * MIB
CHUNKS_MAX: Final = 10_000
KEPT_AT_ONCE: Final = 16
"""Chunks between two writes of the cursor; what was read since is read again after a crash."""
RANGE_BYTES: Final = 64 * MIB
"""What one call of the store is asked for."""
CONTINUED_DUE_S: Final = 120.0
"""When the sweep looks after a splitter that was to go on."""
_COMPRESSED: Final[Mapping[bytes, str]] = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "a zip archive",
    b"BZh": "bzip2",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitWorker:
    """Everything that the splitter asks and tells."""

    batches: BatchStore
    objects: ObjectStore
    split: Queue
    chunks: Mapping[str, Queue]
    """Queues of chunks by pool."""
    clock: Clock
    chunk_bytes: int = CHUNK_BYTES
    input_bytes_max: int = BATCH_INPUT_BYTES_MAX
    told: Callable[[BatchRow], None] = tell_nobody
    """Of each batch whose input cannot be read, so that it has failed."""


def split_batch(
    worker: SplitWorker, key: BatchKey, *, lease: Lease, until_s: float
) -> float | None:
    """Split a batch as far as the time allows, and begin to run it once it is split.

    `until_s`: on the monotonic clock. Gives the seconds after which the message should come again
    where another splitter is at work; None: this message is done.
    """
    now = worker.clock()
    found = worker.batches.lease(
        key, step="validating", owner=lease.owner, until=lease.until, now=now
    )
    if isinstance(found, Held):
        return max(0.0, found.until - now)
    if isinstance(found, Leased):
        try:
            _Split(worker, found.row, until_s).go_on()
        except LanewayError as error:
            if not isinstance(error, _REFUSALS):
                worker.batches.release(key, fence=found.row.fence, due_at=now)
                raise
            failure = failure_of(error)
            now = worker.clock()
            if worker.batches.end(key, status="failed", failure=failure, now=now):
                row = replace(found.row, status="failed", failure=failure, finished_at=now)
                worker.told(row)
            return None
    begin(key, batches=worker.batches, chunks=worker.chunks, now=worker.clock(), until_s=until_s)
    return None


_REFUSALS: Final = (ConflictError, MediaTypeError, NotFoundError, TooLargeError)
"""Of the input as it is: another try meets them again."""


class _Split:
    """One lease of a batch that is being split."""

    def __init__(self, worker: SplitWorker, row: BatchRow, until_s: float) -> None:
        self._worker = worker
        self._row = row
        self._until_s = until_s
        self._made: list[ChunkRow] = []
        self._cursor = row.cursor

    def go_on(self) -> None:
        """From the cursor to the end, or until there is no more time."""
        worker, row = self._worker, self._row
        source = worker.objects.stat(row.input)
        if row.etag and row.etag != source.etag:
            raise ConflictError("the input was changed while it was split")
        if not row.cursor.offset:
            self._check(source)
        size = max(worker.chunk_bytes, -(-source.size_bytes // CHUNKS_MAX))
        for chunk in self._chunks(source, size):
            self._made.append(chunk)
            self._cursor = Cursor(chunk.end, chunk.index + 1, chunk.begin.line - 1 + chunk.lines)
            if len(self._made) == KEPT_AT_ONCE:
                if not self._keep(source):
                    return
                if time.monotonic() >= self._until_s:
                    self._continue_later()
                    return
        if self._keep(source):
            due_at = opens_at(row.window, max(row.not_before, worker.clock()))
            worker.batches.split(row.key, fence=row.fence, due_at=due_at)

    def _check(self, source: Stat) -> None:
        if not source.size_bytes:
            raise MediaTypeError("the input is empty: it should hold a line of JSON per request")
        if source.size_bytes > self._worker.input_bytes_max:
            raise TooLargeError(
                f"the input has {source.size_bytes} bytes, a batch reads at most "
                f"{self._worker.input_bytes_max}; make several batches of it"
            )
        head = b"".join(self._worker.objects.read(self._row.input, end=4, etag=source.etag))
        for magic, name in _COMPRESSED.items():
            if head.startswith(magic):
                raise MediaTypeError(
                    f"the input is {name}; upload it uncompressed, because chunks of it are read "
                    "from the middle"
                )
        if head.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise MediaTypeError("the input is UTF-16; write it as UTF-8")

    def _chunks(self, source: Stat, size: int) -> Iterator[ChunkRow]:
        """Chunks of at least `size` bytes, each ending with a line."""
        begin_at, line = Place(self._cursor.offset, self._cursor.lines + 1), 0
        index, at = self._cursor.chunks, begin_at.offset
        for piece in self._pieces(source, begin_at.offset):
            start = 0
            while (least := begin_at.offset + size - 1 - at) < len(piece):
                newline = piece.find(b"\n", max(start, least))
                if newline < 0:
                    break
                line += piece.count(b"\n", start, newline + 1)
                start = newline + 1
                yield ChunkRow(index=index, begin=begin_at, end=at + start, lines=line)
                index, begin_at, line = index + 1, Place(at + start, begin_at.line + line), 0
            line += piece.count(b"\n", start)
            at += len(piece)
            open_line = not piece.endswith(b"\n")
        if at > begin_at.offset:
            yield ChunkRow(index=index, begin=begin_at, end=at, lines=line + int(open_line))

    def _pieces(self, source: Stat, start: int) -> Iterator[bytes]:
        for at in range(start, source.size_bytes, RANGE_BYTES):
            end = min(at + RANGE_BYTES, source.size_bytes)
            yield from self._worker.objects.read(
                self._row.input, start=at, end=end, etag=source.etag
            )

    def _keep(self, source: Stat) -> bool:
        """Whether the lease is still ours, and the chunks are there."""
        made, self._made = self._made, []
        if not made:
            return True
        return self._worker.batches.add_chunks(
            self._row,
            made,
            cursor=self._cursor,
            etag=source.etag,
            input_bytes=source.size_bytes,
        )

    def _continue_later(self) -> None:
        worker, row = self._worker, self._row
        worker.batches.release(row.key, fence=row.fence, due_at=worker.clock() + CONTINUED_DUE_S)
        worker.split.send(batch_message(row.key), tenant=row.key.tenant)
