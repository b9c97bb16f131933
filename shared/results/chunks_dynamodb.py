"""The chunks of batches on a DynamoDB table: leased and fenced like jobs, published with their counts."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from shared.results import batches_items as items
from shared.results.batches import ChunkClaim, ChunkClaimed, Held, NotOpen
from shared.results.batches_calls import BatchesTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from shared.results.batches import BatchKey, ChunkRow, Part, Place


class DynamoChunks:
    """What of `BatchStore` workers need."""

    def __init__(self, client: DynamoDBClient, *, table: str) -> None:
        self._table = BatchesTable(client, name=table)

    def claim_chunk(
        self, key: BatchKey, index: int, *, owner: str, until: float, now: float
    ) -> ChunkClaim:
        """Take the lease of a chunk."""
        token = f"{owner} {uuid4().hex}"
        written = self._table.update(
            items.key_of(key, index),
            "SET #status = :running, #attempt = #attempt + :one, #fence = #fence + :one,"
            " #lease_until = :until, #lease_owner = :owner",
            "#status = :open OR (#status = :running AND #lease_until <= :now)",
            {
                ":open": items.text("open"),
                ":running": items.text("running"),
                ":until": items.number(until),
                ":owner": items.text(token),
                ":now": items.number(now),
            },
        )
        if written.item is None:
            return NotOpen()
        chunk = items.chunk_of(written.item)
        if written.done or written.item.get("lease_owner") == items.text(token):
            return ChunkClaimed(chunk)
        return NotOpen() if chunk.status == "done" else Held(chunk.lease_until)

    def release_chunk(self, key: BatchKey, index: int, *, fence: int, charged: bool) -> bool:
        """Hand a chunk back."""
        return self._table.update(
            items.key_of(key, index),
            "SET #status = :open, #attempt = #attempt - :returned, #lease_until = :zero",
            "#status = :running AND #fence = :fence",
            {
                ":open": items.text("open"),
                ":running": items.text("running"),
                ":returned": items.number(0 if charged else 1),
                ":fence": items.number(fence),
            },
        ).done

    def publish(
        self, key: BatchKey, chunk: ChunkRow, part: Part, *, upto: Place, now: float
    ) -> bool:
        """Publish what a run wrote."""
        done = upto.offset >= chunk.end
        running = {":running": items.text("running")}
        published = self._table.updating(
            items.key_of(key, chunk.index),
            "SET #status = :then, #attempt = :zero, #lease_until = :zero, #next = :next,"
            " #parts = list_append(#parts, :part)",
            "#status = :running AND #fence = :fence",
            {
                **running,
                ":then": items.text("done" if done else "open"),
                ":fence": items.number(chunk.fence),
                ":next": items.packed(list(upto)),
                ":part": {"L": [items.part_item(part)]},
            },
        )
        counted = self._table.updating(
            items.key_of(key),
            "SET #progressed_at = :now ADD #succeeded :succeeded, #failed :failed,"
            " #blank :blank, #done_chunks :done",
            "#status = :running",
            {
                **running,
                ":now": items.number(now),
                ":succeeded": items.number(part.succeeded),
                ":failed": items.number(part.failed),
                ":blank": items.number(part.blank),
                ":done": items.number(int(done)),
            },
        )
        return self._table.transact([published, counted])

    def chunks(self, key: BatchKey, *, first: int = 0) -> Iterator[ChunkRow]:
        """The chunks in order, read page by page."""
        return (items.chunk_of(item) for item in self._table.chunks(str(key), first))
