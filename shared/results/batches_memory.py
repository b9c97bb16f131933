"""Batches in dicts: for tests, for users' own tests, and to measure what the machinery costs.

Safe to use from several threads.
"""

from __future__ import annotations

from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

from shared.results.batches import (
    BatchKey,
    BatchLease,
    BatchList,
    BatchRow,
    ChunkClaim,
    ChunkClaimed,
    ChunkRow,
    Cursor,
    Held,
    Leased,
    NotOpen,
    Part,
    Place,
)
from shared.results.batches_cursor import listed_at, read_cursor, write_cursor
from shared.schema.batch_status import BATCH_TERMINAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from shared.results.rows import JobFailure
    from shared.schema.batch_status import BatchEnding, BatchStatus


class MemoryBatchStore:
    """Implements `BatchStore`."""

    def __init__(self) -> None:
        self._rows: dict[BatchKey, BatchRow] = {}
        self._chunks: dict[BatchKey, list[ChunkRow]] = {}
        self._lock = Lock()

    def create(self, row: BatchRow) -> BatchRow | None:
        """Keep a new batch."""
        with self._lock:
            kept = self._rows.get(row.key)
            if kept is None:
                self._rows[row.key] = replace(row, due_at=row.created_at)
                self._chunks[row.key] = []
            return kept

    def get(self, key: BatchKey) -> BatchRow | None:
        """The row."""
        with self._lock:
            return self._rows.get(key)

    def list(self, tenant: str, *, cursor: str | None = None, limit: int = 50) -> BatchList:
        """Batches of a tenant, newest first."""
        before = None if cursor is None else read_cursor(tenant, cursor)
        with self._lock:
            rows = [row for row in self._rows.values() if row.key.tenant == tenant]
        rows.sort(key=listed_at, reverse=True)
        rows = [row for row in rows if before is None or listed_at(row) < before]
        more = len(rows) > limit
        rows = rows[:limit]
        return BatchList(rows, write_cursor(tenant, listed_at(rows[-1])) if more else None)

    def due(self, *, now: float, limit: int) -> Sequence[BatchRow]:
        """Batches that somebody must look at by now, oldest first."""
        with self._lock:
            rows = [row for row in self._rows.values() if row.due_at is not None]
        rows = [row for row in rows if (row.due_at or 0.0) <= now]
        return sorted(rows, key=lambda row: row.due_at or 0.0)[:limit]

    def counted(self, tenant: str, *, up_to: int) -> int:
        """How many batches of the tenant have not ended."""
        with self._lock:
            found = [row for key, row in self._rows.items() if key.tenant == tenant]
        return min(up_to, sum(row.status not in BATCH_TERMINAL for row in found))

    def lease(
        self, key: BatchKey, *, step: BatchStatus, owner: str, until: float, now: float
    ) -> BatchLease:
        """Take the lease of a batch at this step."""
        with self._lock:
            row = self._rows.get(key)
            if row is None or row.status != step:
                return NotOpen()
            if row.lease_until > now:
                return Held(row.lease_until)
            return Leased(
                self._change(
                    row, fence=row.fence + 1, lease_owner=owner, lease_until=until, due_at=until
                )
            )

    def release(self, key: BatchKey, *, fence: int, due_at: float) -> bool:
        """Give the lease up."""
        with self._lock:
            row = self._held(key, fence)
            if row is not None:
                self._change(row, lease_owner=None, lease_until=0.0, due_at=due_at)
            return row is not None

    def add_chunks(
        self,
        row: BatchRow,
        chunks: Sequence[ChunkRow],
        *,
        cursor: Cursor,
        etag: str,
        input_bytes: int,
    ) -> bool:
        """Keep chunks and move the cursor."""
        with self._lock:
            kept = self._held(row.key, row.fence, step="validating")
            if kept is None:
                return False
            self._chunks[row.key] += [replace(chunk, next=chunk.begin) for chunk in chunks]
            self._change(kept, cursor=cursor, etag=etag, input_bytes=input_bytes)
            return True

    def split(self, key: BatchKey, *, fence: int, due_at: float) -> bool:
        """All chunks are there."""
        with self._lock:
            row = self._held(key, fence, step="validating")
            if row is not None:
                self._change(
                    row, status="scheduled", lease_owner=None, lease_until=0.0, due_at=due_at
                )
            return row is not None

    def start(self, key: BatchKey, *, now: float, due_at: float) -> bool:
        """Begin to run."""
        with self._lock:
            row = self._at(key, "scheduled")
            if row is not None:
                self._change(
                    row, status="running", started_at=now, progressed_at=now, due_at=due_at
                )
            return row is not None

    def dispatched(self, key: BatchKey, *, chunks: int) -> bool:
        """So many chunks have had a message."""
        with self._lock:
            row = self._at(key, "running")
            if row is not None:
                self._change(row, dispatched=chunks)
            return row is not None

    def claim_chunk(
        self, key: BatchKey, index: int, *, owner: str, until: float, now: float
    ) -> ChunkClaim:
        """Take the lease of a chunk."""
        del owner  # the fence names the run; an owner is for people, who look at the table
        with self._lock:
            chunk = self._chunk(key, index)
            if chunk is None or chunk.status == "done":
                return NotOpen()
            if chunk.status == "running" and chunk.lease_until > now:
                return Held(chunk.lease_until)
            return ChunkClaimed(
                self._change_chunk(
                    key,
                    chunk,
                    status="running",
                    attempt=chunk.attempt + 1,
                    fence=chunk.fence + 1,
                    lease_until=until,
                )
            )

    def release_chunk(self, key: BatchKey, index: int, *, fence: int, charged: bool) -> bool:
        """Hand a chunk back."""
        with self._lock:
            chunk = self._running(key, index, fence)
            if chunk is not None:
                attempt = chunk.attempt - (0 if charged else 1)
                self._change_chunk(key, chunk, status="open", attempt=attempt, lease_until=0.0)
            return chunk is not None

    def publish(
        self, key: BatchKey, chunk: ChunkRow, part: Part, *, upto: Place, now: float
    ) -> bool:
        """Publish what a run wrote."""
        with self._lock:
            row = self._at(key, "running")
            kept = self._running(key, chunk.index, chunk.fence)
            if row is None or kept is None:
                return False
            done = upto.offset >= kept.end
            self._change_chunk(
                key,
                kept,
                status="done" if done else "open",
                attempt=0,
                lease_until=0.0,
                next=upto,
                parts=(*kept.parts, part),
            )
            self._change(
                row,
                succeeded=row.succeeded + part.succeeded,
                failed=row.failed + part.failed,
                blank=row.blank + part.blank,
                done_chunks=row.done_chunks + int(done),
                progressed_at=now,
            )
            return True

    def chunks(self, key: BatchKey, *, first: int = 0) -> Iterator[ChunkRow]:
        """The chunks in order."""
        with self._lock:
            found = list(self._chunks.get(key, ()))
        yield from found[first:]

    def finalize(self, key: BatchKey, *, ending: BatchEnding, now: float) -> bool:
        """End the running."""
        with self._lock:
            row = self._at(key, "running")
            if row is None or (ending == "succeeded" and row.done_chunks < row.cursor.chunks):
                return False
            self._change(row, status="finalizing", ending=ending, due_at=now)
            return True

    def end(
        self,
        key: BatchKey,
        *,
        status: BatchStatus,
        now: float,
        failure: JobFailure | None = None,
    ) -> bool:
        """End a batch that has not begun to run."""
        with self._lock:
            row = self._rows.get(key)
            if row is None or row.status not in ("validating", "scheduled"):
                return False
            self._ended(row, status, now, failure=failure)
            return True

    def uploads(self, key: BatchKey, *, fence: int, uploads: Mapping[str, str]) -> bool:
        """Note the uploads in progress."""
        with self._lock:
            row = self._held(key, fence, step="finalizing")
            if row is not None:
                self._change(row, uploads=dict(uploads))
            return row is not None

    def finish(self, key: BatchKey, *, fence: int, files: Mapping[str, int], now: float) -> bool:
        """Publish the joined files."""
        with self._lock:
            row = self._held(key, fence, step="finalizing")
            if row is not None:
                self._ended(row, row.ending, now, files=dict(files), uploads={})
            return row is not None

    def postpone(self, key: BatchKey, *, due_at: float) -> None:
        """Look again later."""
        with self._lock:
            row = self._rows.get(key)
            if row is not None and row.status not in BATCH_TERMINAL:
                self._change(row, due_at=due_at)

    def _at(self, key: BatchKey, step: BatchStatus) -> BatchRow | None:
        row = self._rows.get(key)
        return row if row is not None and row.status == step else None

    def _held(self, key: BatchKey, fence: int, step: BatchStatus | None = None) -> BatchRow | None:
        row = self._rows.get(key)
        if row is None or row.fence != fence or row.lease_owner is None:
            return None
        return row if step is None or row.status == step else None

    def _change(self, row: BatchRow, **members: object) -> BatchRow:
        changed = replace(row, **members)  # type: ignore[arg-type]  # named by this module alone
        self._rows[row.key] = changed
        return changed

    def _ended(self, row: BatchRow, status: BatchStatus, now: float, **members: object) -> None:
        self._change(
            row,
            status=status,
            finished_at=now,
            lease_owner=None,
            lease_until=0.0,
            due_at=None,
            **members,
        )

    def _chunk(self, key: BatchKey, index: int) -> ChunkRow | None:
        chunks = self._chunks.get(key, [])
        return chunks[index] if 0 <= index < len(chunks) else None

    def _running(self, key: BatchKey, index: int, fence: int) -> ChunkRow | None:
        chunk = self._chunk(key, index)
        held = chunk is not None and chunk.status == "running" and chunk.fence == fence
        return chunk if held else None

    def _change_chunk(self, key: BatchKey, chunk: ChunkRow, **members: object) -> ChunkRow:
        changed = replace(chunk, **members)  # type: ignore[arg-type]  # as above
        self._chunks[key][chunk.index] = changed
        return changed
