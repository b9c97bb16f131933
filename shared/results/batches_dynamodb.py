"""Batches on a DynamoDB table: every method of `BatchStore` that writes is one conditional call.

Two of them are transactions, because they change the batch's row and its chunks together: DynamoDB
refuses one of two that meet on a row, so these are tried again after a pause of random length.
What is about a chunk alone, or about what it publishes, is in `shared.results.chunks_dynamodb`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from shared.results import batches_items as items
from shared.results.batches import (
    BatchKey,
    BatchLease,
    BatchList,
    BatchRow,
    ChunkRow,
    Cursor,
    Held,
    Leased,
    NotOpen,
)
from shared.results.batches_cursor import read_cursor, write_cursor
from shared.results.batches_table import COUNTED, DUE, LISTED
from shared.results.chunks_dynamodb import DynamoChunks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.results.rows import JobFailure
    from shared.schema.batch_status import BatchEnding, BatchStatus

_HOLDS = "#fence = :fence AND attribute_exists(#lease_owner)"
_NO_LEASE = "REMOVE #lease_owner"
_ENDED = f"{_NO_LEASE}, #due_at, #counted_for"


class DynamoBatchStore(DynamoChunks):
    """Implements `BatchStore` on the table of `shared.results.batches_table`."""

    def create(self, row: BatchRow) -> BatchRow | None:
        """Keep a new batch."""
        token = uuid4().hex
        item = {**items.new_item(row), "put_token": items.text(token)}
        kept = self._table.put_new(item)
        return None if kept is None or kept["put_token"]["S"] == token else items.row_of(kept)

    def get(self, key: BatchKey) -> BatchRow | None:
        """The row, read consistently."""
        item = self._table.get(items.key_of(key))
        return None if item is None else items.row_of(item)

    def list(self, tenant: str, *, cursor: str | None = None, limit: int = 50) -> BatchList:
        """Batches of a tenant, newest first."""
        after = None if cursor is None else read_cursor(tenant, cursor)
        start = None
        if after is not None:
            key = BatchKey(tenant, after.partition("#")[2])
            named = {"tenant": items.text(tenant), "listed_at": items.text(after)}
            start = {**items.key_of(key), **named}
        found, last = self._table.newest(LISTED, tenant, limit=limit, start=start)
        rows = [items.row_of(item) for item in found]
        return BatchList(rows, write_cursor(tenant, last["listed_at"]["S"]) if last else None)

    def due(self, *, now: float, limit: int) -> Sequence[BatchRow]:
        """Batches that somebody must look at by now, oldest first."""
        return [items.row_of(item) for item in self._table.until(DUE, now, limit=limit)]

    def counted(self, tenant: str, *, up_to: int) -> int:
        """How many batches of the tenant have not ended."""
        return self._table.count(COUNTED, tenant, up_to=up_to)

    def lease(
        self, key: BatchKey, *, step: BatchStatus, owner: str, until: float, now: float
    ) -> BatchLease:
        """Take the lease of a batch at this step."""
        token = f"{owner} {uuid4().hex}"
        written = self._table.update(
            items.key_of(key),
            "SET #fence = #fence + :one, #lease_owner = :owner, #lease_until = :until,"
            " #due_at = :until",
            "#status = :step AND #lease_until <= :now",
            {
                ":owner": items.text(token),
                ":until": items.number(until),
                ":step": items.text(step),
                ":now": items.number(now),
            },
        )
        row = None if written.item is None else items.row_of(written.item)
        if row is not None and (written.done or row.lease_owner == token):
            return Leased(row)
        if row is None or row.status != step:
            return NotOpen()
        return Held(row.lease_until)

    def release(self, key: BatchKey, *, fence: int, due_at: float) -> bool:
        """Give the lease up."""
        return self._held(
            key,
            fence,
            f"SET #lease_until = :zero, #due_at = :due_at {_NO_LEASE}",
            {":due_at": items.number(due_at)},
        )

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
        moved = self._table.updating(
            items.key_of(row.key),
            "SET #split_offset = :offset, #chunks = :chunks, #lines = :lines, #source = :source",
            f"#status = :validating AND {_HOLDS}",
            {
                ":validating": items.text("validating"),
                ":fence": items.number(row.fence),
                ":offset": items.number(cursor.offset),
                ":chunks": items.number(cursor.chunks),
                ":lines": items.number(cursor.lines),
                ":source": items.packed({"etag": etag, "input_bytes": input_bytes}),
            },
        )
        kept = [items.chunk_item(row.key, chunk, purge_at=row.purge_at) for chunk in chunks]
        return self._table.transact([moved, *(self._table.putting(item) for item in kept)])

    def split(self, key: BatchKey, *, fence: int, due_at: float) -> bool:
        """All chunks are there."""
        return self._held(
            key,
            fence,
            f"SET #status = :scheduled, #lease_until = :zero, #due_at = :due_at {_NO_LEASE}",
            {":scheduled": items.text("scheduled"), ":due_at": items.number(due_at)},
            step="validating",
        )

    def start(self, key: BatchKey, *, now: float, due_at: float) -> bool:
        """Begin to run."""
        return self._at(
            key,
            "scheduled",
            "SET #status = :running, #started_at = :now, #progressed_at = :now, #due_at = :due_at",
            {
                ":running": items.text("running"),
                ":now": items.number(now),
                ":due_at": items.number(due_at),
            },
        )

    def dispatched(self, key: BatchKey, *, chunks: int) -> bool:
        """So many chunks have had a message."""
        values = {":chunks": items.number(chunks)}
        return self._at(key, "running", "SET #dispatched = :chunks", values)

    def finalize(self, key: BatchKey, *, ending: BatchEnding, now: float) -> bool:
        """End the running."""
        every = " AND #done_chunks >= #chunks" if ending == "succeeded" else ""
        return self._table.update(
            items.key_of(key),
            "SET #status = :finalizing, #ending = :ending, #due_at = :now",
            f"#status = :running{every}",
            {
                ":running": items.text("running"),
                ":finalizing": items.text("finalizing"),
                ":ending": items.text(ending),
                ":now": items.number(now),
            },
        ).done

    def end(
        self,
        key: BatchKey,
        *,
        status: BatchStatus,
        now: float,
        failure: JobFailure | None = None,
    ) -> bool:
        """End a batch that has not begun to run."""
        more = "" if failure is None else ", #failure = :failure"
        values = {} if failure is None else {":failure": items.failure_item(failure)}
        return self._table.update(
            items.key_of(key),
            f"SET #status = :ended, #finished_at = :now, #lease_until = :zero{more} {_ENDED}",
            "#status = :validating OR #status = :scheduled",
            {
                ":validating": items.text("validating"),
                ":scheduled": items.text("scheduled"),
                ":ended": items.text(status),
                ":now": items.number(now),
                **values,
            },
        ).done

    def uploads(self, key: BatchKey, *, fence: int, uploads: Mapping[str, str]) -> bool:
        """Note the uploads in progress."""
        values = {":uploads": items.packed(dict(uploads))}
        return self._held(key, fence, "SET #uploads = :uploads", values, step="finalizing")

    def finish(self, key: BatchKey, *, fence: int, files: Mapping[str, int], now: float) -> bool:
        """Publish the joined files."""
        return self._held(
            key,
            fence,
            "SET #status = #ending, #finished_at = :now, #lease_until = :zero, #files = :files"
            f" {_ENDED}, #uploads",
            {":now": items.number(now), ":files": items.packed(dict(files))},
            step="finalizing",
        )

    def postpone(self, key: BatchKey, *, due_at: float) -> None:
        """Look again later."""
        values = {":due_at": items.number(due_at)}
        self._table.update(
            items.key_of(key), "SET #due_at = :due_at", "attribute_exists(#due_at)", values
        )

    def _at(self, key: BatchKey, step: str, update: str, values: Mapping[str, Any]) -> bool:
        given = {":step": items.text(step), **values}
        return self._table.update(items.key_of(key), update, "#status = :step", given).done

    def _held(
        self,
        key: BatchKey,
        fence: int,
        update: str,
        values: Mapping[str, Any],
        *,
        step: str | None = None,
    ) -> bool:
        given = {":fence": items.number(fence), **values}
        condition = _HOLDS
        if step is not None:
            condition, given = f"#status = :step AND {_HOLDS}", {":step": items.text(step), **given}
        return self._table.update(items.key_of(key), update, condition, given).done
