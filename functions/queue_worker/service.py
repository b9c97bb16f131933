"""Works on SQS events: records become deliveries, `run_delivery` works on them, outcomes become the answer.

Which latency class a record has, or that it is a chunk of a batch, follows from the queue that it
came from.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from shared.inference.memory import recover
from shared.jobs.concluding import conclude
from shared.jobs.delivery import Done, Outcome
from shared.jobs.run import JobRunner
from shared.jobs.work import Lease
from shared.queues.sqs import from_record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.job_telemetry import JobTelemetry
    from shared.jobs.batches.run_chunk import ChunkRunner
    from shared.jobs.work import Worker
    from shared.queues.protocol import Delivery, Queue

CHUNKS: Final = "chunks"
"""The kind of a pool's queue that carries chunks of batches."""
LEASE_MARGIN_S: Final = 5.0
"""A lease outlives its invocation by so much: whoever may still be publishing is waited for."""


def make_handler(
    worker: Worker,
    *,
    consumed: Mapping[str, str],
    telemetry: JobTelemetry,
    margin_s: float,
    chunks: ChunkRunner | None = None,
) -> Callable[[Mapping[str, Any], Any], dict[str, Any]]:
    """The Lambda handler of a worker.

    `consumed`: latency classes, or `chunks`, by the names of its queues; `chunks` None: no batches.
    """
    runner = JobRunner(worker)

    def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        remaining_s = context.get_remaining_time_in_millis() / 1000
        telemetry.begin(context)
        records = event["Records"]
        kind = consumed[records[0]["eventSourceARN"].rpartition(":")[2]]
        deliveries = [from_record(record) for record in records]
        lease = Lease(context.aws_request_id, worker.clock() + remaining_s + LEASE_MARGIN_S)
        until_s = time.monotonic() + remaining_s - margin_s
        if kind == CHUNKS and chunks is not None:
            outcomes = chunks.run_delivery(deliveries, lease=lease, until_s=until_s)
        else:
            outcomes = runner.run_delivery(deliveries, queue=kind, lease=lease, until_s=until_s)
        failed = _conclude(worker, worker.queues[worker.pool, kind], deliveries, outcomes)
        if worker.sessions.spent:
            recover(worker.sessions)
        return {"batchItemFailures": [{"itemIdentifier": name} for name in failed]}

    return handler


def _conclude(
    worker: Worker, queue: Queue, deliveries: list[Delivery], outcomes: list[Outcome]
) -> list[str]:
    """Tell the queue what came of the deliveries; gives the ids of those that Lambda must not remove."""
    open_pairs = [
        (delivery, outcome)
        for delivery, outcome in zip(deliveries, outcomes, strict=True)
        if not isinstance(outcome, Done)
    ]
    gone = conclude(queue, open_pairs, parallel=worker.parallel)
    return [
        delivery.message_id
        for (delivery, _), has_left in zip(open_pairs, gone, strict=True)
        if not has_left
    ]
