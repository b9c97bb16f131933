"""Puts the finisher together from its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from shared.aws import make_client
from shared.jobs.batches.finish import FinishWorker
from shared.jobs.batches.messages import CHUNKS
from shared.jobs.batches.sweep import SweepWorker
from shared.jobs.clock import system_clock
from shared.queues.sqs import SqsQueue
from shared.results.batches_dynamodb import DynamoBatchStore
from shared.results.objects_s3 import S3ObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.jobs.clock import Clock
    from shared.results.batches import BatchRow
    from shared.settings.jobs import BatchFinisherSettings


class Finisher(NamedTuple):
    """What the handler works with."""

    worker: FinishWorker
    sweep: SweepWorker


def make_finisher(
    settings: BatchFinisherSettings,
    *,
    told: Callable[[BatchRow], None],
    clock: Clock = system_clock,
) -> Finisher:
    """The finisher over DynamoDB, S3 and SQS; `told`: of batches that have ended."""
    sqs = make_client("sqs")
    store = DynamoBatchStore(make_client("dynamodb"), table=settings.batches_table)
    finish = SqsQueue(
        sqs, url=settings.finish_queue, dead_letter_url=settings.finish_dead_letters or None
    )
    worker = FinishWorker(
        batches=store,
        objects=S3ObjectStore(make_client("s3"), bucket=settings.bucket),
        finish=finish,
        bucket=settings.bucket,
        clock=clock,
        threads=settings.threads,
        told=told,
    )
    sweep = SweepWorker(
        batches=store,
        split=SqsQueue(sqs, url=settings.split_queue),
        finish=finish,
        chunks={
            pool: SqsQueue(sqs, url=urls[CHUNKS])
            for pool, urls in settings.queues.items()
            if CHUNKS in urls
        },
        clock=clock,
    )
    return Finisher(worker, sweep)
