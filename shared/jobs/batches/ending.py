"""From the last chunk of a batch to its finisher."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.jobs.batches.messages import batch_message

if TYPE_CHECKING:
    from shared.queues.protocol import Queue
    from shared.results.batches import BatchKey, BatchStore


def finish_if_done(key: BatchKey, *, batches: BatchStore, finish: Queue, now: float) -> None:
    """Have the batch finished once its last chunk is done; asked after each chunk."""
    row = batches.get(key)
    if row is None or row.status != "running" or row.done_chunks < row.cursor.chunks:
        return
    if batches.finalize(key, ending="succeeded", now=now):
        finish.send(batch_message(key), tenant=key.tenant)
