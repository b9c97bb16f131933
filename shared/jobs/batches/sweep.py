"""One pass over the batches that somebody must look at: what was lost on the way is set going again."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shared.errors import UnavailableError
from shared.jobs.batches.dispatch import LOOK_S, LOST_S, begin, queue_of, send_again, send_chunks
from shared.jobs.batches.ending import finish_if_done
from shared.jobs.batches.messages import batch_message
from shared.jobs.batches.window import is_open, opens_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.jobs.clock import Clock
    from shared.queues.protocol import Queue
    from shared.results.batches import BatchRow, BatchStore

AGAIN_S: Final = 300.0
"""When a message to the splitter or the finisher counts as lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepWorker:
    """Everything that the sweep asks and tells."""

    batches: BatchStore
    split: Queue
    finish: Queue
    chunks: Mapping[str, Queue]
    clock: Clock


def sweep_batches(worker: SweepWorker, *, limit: int, until_s: float) -> int:
    """Look at the batches that are due; how many these were. `until_s`: on the monotonic clock."""
    rows = worker.batches.due(now=worker.clock(), limit=limit)
    for row in rows:
        with suppress(UnavailableError):  # it stays due, and the next pass meets it again
            _look(worker, row, until_s)
    return len(rows)


def _look(worker: SweepWorker, row: BatchRow, until_s: float) -> None:
    now = worker.clock()
    if row.ttl_at <= now and row.status != "finalizing":
        expire(worker, row, now)
    elif row.status == "validating":
        _again(worker, row, worker.split, now)
    elif row.status == "finalizing":
        _again(worker, row, worker.finish, now)
    elif row.status == "scheduled":
        worker.batches.postpone(row.key, due_at=now + LOOK_S)
        begin(row.key, batches=worker.batches, chunks=worker.chunks, now=now, until_s=until_s)
    else:
        _look_at_running(worker, row, now, until_s)


def expire(worker: SweepWorker, row: BatchRow, now: float) -> None:
    """End a batch whose time has passed; what is done of it is joined."""
    if worker.batches.end(row.key, status="expired", now=now):
        return
    if worker.batches.finalize(row.key, ending="expired", now=now):
        worker.finish.send(batch_message(row.key), tenant=row.key.tenant)


def _again(worker: SweepWorker, row: BatchRow, queue: Queue, now: float) -> None:
    """Whoever was at it has been given up on, or has never heard of it."""
    queue.send(batch_message(row.key), tenant=row.key.tenant)
    worker.batches.postpone(row.key, due_at=now + AGAIN_S)


def _look_at_running(worker: SweepWorker, row: BatchRow, now: float, until_s: float) -> None:
    finish_if_done(row.key, batches=worker.batches, finish=worker.finish, now=now)
    if not is_open(row.window, now):
        worker.batches.dispatched(row.key, chunks=0)  # messages that come meanwhile are let go
        worker.batches.postpone(row.key, due_at=min(row.ttl_at, opens_at(row.window, now)))
        return
    queue = queue_of(row, worker.chunks)
    worker.batches.postpone(row.key, due_at=min(row.ttl_at, now + LOOK_S))
    if row.dispatched < row.cursor.chunks:
        send_chunks(row, batches=worker.batches, queue=queue, until_s=until_s)
    else:
        is_stalled = row.progressed_at + LOST_S <= now
        send_again(row, batches=worker.batches, queue=queue, now=now, open_too=is_stalled)
