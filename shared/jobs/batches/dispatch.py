"""From a batch that is split to messages that have its chunks run: at its start, and when one was lost."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, Final

from shared.errors import QueueUnavailableError
from shared.jobs.batches.messages import chunk_message
from shared.jobs.batches.window import opens_at
from shared.queues.protocol import Message

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.queues.protocol import Queue
    from shared.results.batches import BatchKey, BatchRow, BatchStore, ChunkRow

SENT_AT_ONCE: Final = 100
LOOK_S: Final = 300.0
"""How often somebody looks at a batch that runs."""
LOST_S: Final = 3600.0
"""A batch that publishes nothing for so long has its open chunks sent again."""


def begin(
    key: BatchKey,
    *,
    batches: BatchStore,
    chunks: Mapping[str, Queue],
    now: float,
    until_s: float,
) -> None:
    """Start a scheduled batch whose time has come, and send what was not sent yet."""
    row = batches.get(key)
    if row is not None and row.status == "scheduled":
        starts_at = opens_at(row.window, max(now, row.not_before))
        if starts_at > now:
            return
        batches.start(key, now=now, due_at=now + LOOK_S)
        row = batches.get(key)
    if row is not None and row.status == "running":
        send_chunks(row, batches=batches, queue=queue_of(row, chunks), until_s=until_s)


def send_chunks(row: BatchRow, *, batches: BatchStore, queue: Queue, until_s: float) -> bool:
    """Send the chunks that had no message yet; False: the time ended before."""
    waiting = batches.chunks(row.key, first=row.dispatched)
    while some := list(islice(waiting, SENT_AT_ONCE)):
        if time.monotonic() >= until_s:
            return False
        _send(row, queue, some)
        batches.dispatched(row.key, chunks=some[-1].index + 1)
    return True


def send_again(
    row: BatchRow, *, batches: BatchStore, queue: Queue, now: float, open_too: bool
) -> int:
    """Send the chunks whose runs have died, and with `open_too` those that never ran; their number."""
    sent = 0
    waiting = (chunk for chunk in batches.chunks(row.key) if _waits(chunk, now, open_too))
    while some := list(islice(waiting, SENT_AT_ONCE)):
        _send(row, queue, some)
        sent += len(some)
    return sent


def queue_of(row: BatchRow, chunks: Mapping[str, Queue]) -> Queue:
    """The queue of chunks of the batch's pool."""
    queue = chunks.get(row.pool)
    if queue is None:
        raise QueueUnavailableError(f"pool {row.pool!r} has no queue of chunks in this stage")
    return queue


def _send(row: BatchRow, queue: Queue, chunks: list[ChunkRow]) -> None:
    messages = [
        Message(body=chunk_message(row.key, chunk.index), tenant=row.key.tenant) for chunk in chunks
    ]
    if None in queue.send_many(messages):
        raise QueueUnavailableError("the broker did not take every message of a batch")


def _waits(chunk: ChunkRow, now: float, open_too: bool) -> bool:  # noqa: FBT001  one more fact of three
    died = chunk.status == "running" and chunk.lease_until <= now
    return died or (open_too and chunk.status == "open")
