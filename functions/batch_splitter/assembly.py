"""Puts the splitter together from its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from shared.aws import make_client
from shared.jobs.batches.messages import CHUNKS
from shared.jobs.batches.split import SplitWorker
from shared.jobs.batches.submit import Batches
from shared.jobs.clock import system_clock
from shared.jobs.rules import JobRules
from shared.queues.sqs import SqsQueue
from shared.results.batches_dynamodb import DynamoBatchStore
from shared.results.objects_s3 import S3ObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.catalog import Catalog
    from shared.jobs.clock import Clock
    from shared.results.batches import BatchRow
    from shared.settings.jobs import BatchSplitterSettings


class Splitter(NamedTuple):
    """What the handler works with."""

    worker: SplitWorker
    batches: Batches


def make_splitter(
    settings: BatchSplitterSettings,
    *,
    catalog: Catalog,
    told: Callable[[BatchRow], None],
    clock: Clock = system_clock,
) -> Splitter:
    """The splitter over DynamoDB, S3 and SQS; `catalog`: of all models, `told`: of batches that failed."""
    sqs = make_client("sqs")
    store = DynamoBatchStore(make_client("dynamodb"), table=settings.batches_table)
    split = SqsQueue(
        sqs, url=settings.split_queue, dead_letter_url=settings.split_dead_letters or None
    )
    chunks = {
        pool: SqsQueue(sqs, url=urls[CHUNKS])
        for pool, urls in settings.queues.items()
        if CHUNKS in urls
    }
    worker = SplitWorker(
        batches=store,
        objects=S3ObjectStore(make_client("s3"), bucket=settings.bucket),
        split=split,
        chunks=chunks,
        clock=clock,
        told=told,
    )
    batches = Batches(
        catalog=catalog,
        store=store,
        split=split,
        finish=SqsQueue(sqs, url=settings.finish_queue),
        pools=frozenset(chunks),
        rules=JobRules.of(settings),
        clock=clock,
    )
    return Splitter(worker, batches)
