"""Splitter, chunk runner and finisher of a service in this process, behind their queues."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from aws_lambda_powertools import Logger

from cli.testing.event_source import EventSource
from cli.testing.lambdas import LocalFunction
from shared.jobs.batches.finish import FinishWorker
from shared.jobs.batches.messages import CHUNKS as CHUNKS  # noqa: PLC0414  workers look for it here
from shared.jobs.batches.run_chunk import ChunkRunner, ChunkWorker
from shared.jobs.batches.split import SplitWorker
from shared.jobs.batches.submit import Batches
from shared.jobs.batches.sweep import SweepWorker
from shared.jobs.clock import system_clock
from shared.jobs.rules import JobRules
from shared.queues.sqs import SqsQueue
from shared.results.batches_dynamodb import DynamoBatchStore
from shared.results.objects_s3 import S3ObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.testing.resources import Resources
    from shared.catalog import Catalog
    from shared.jobs.batches.facts import ChunkFacts
    from shared.jobs.work import Worker
    from shared.settings.jobs import JobSettings

TIMEOUT_S: Final = 60
ROWS_PER_PASS: Final = 100


def make_chunk_runner(
    worker: Worker,
    *,
    settings: JobSettings,
    resources: Resources,
    told: Callable[[ChunkFacts], None],
) -> ChunkRunner:
    """What runs chunks with a pool's models; `told`: of each run."""
    return ChunkRunner(
        ChunkWorker(
            catalog=worker.catalog,
            sessions=worker.sessions,
            validate=worker.validate,
            batches=_store(resources),
            objects=_objects(resources),
            chunks=worker.queues[worker.pool, CHUNKS],
            finish=SqsQueue(resources.sqs, url=settings.finish_queue),
            clock=worker.clock,
            timeout_s=worker.rules.timeout_s,
            report=lambda error: worker.reporter.defect(error, None),
            told=told,
        )
    )


def make_batch_sources(
    catalog: Catalog, *, settings: JobSettings, resources: Resources
) -> list[EventSource]:
    """The splitter and the finisher behind their queues; `catalog`: of all models."""
    split = SqsQueue(
        resources.sqs, url=settings.split_queue, dead_letter_url=resources.control_dead_letters
    )
    finish = SqsQueue(
        resources.sqs, url=settings.finish_queue, dead_letter_url=resources.control_dead_letters
    )
    chunks = {
        pool: SqsQueue(resources.sqs, url=urls[CHUNKS]) for pool, urls in resources.queues.items()
    }
    store, objects = _store(resources), _objects(resources)
    splitter = SplitWorker(
        batches=store, objects=objects, split=split, chunks=chunks, clock=system_clock
    )
    batches = Batches(
        catalog=catalog,
        store=store,
        split=split,
        finish=finish,
        pools=frozenset(chunks),
        rules=JobRules.of(settings),
        clock=system_clock,
    )
    finisher = FinishWorker(
        batches=store,
        objects=objects,
        finish=finish,
        bucket=resources.bucket,
        clock=system_clock,
        threads=1,
    )
    sweep = SweepWorker(
        batches=store, split=split, finish=finish, chunks=chunks, clock=system_clock
    )
    handlers = {
        "batch-split": import_module("functions.batch_splitter.service").make_handler(
            splitter,
            batches,
            logger=Logger(service="laneway-batch-splitter"),
            margin_s=1.0,
            digests=catalog.digests(),
        ),
        "batch-finish": import_module("functions.batch_finisher.service").make_handler(
            finisher,
            sweep,
            logger=Logger(service="laneway-batch-finisher"),
            margin_s=1.0,
            rows_per_pass=ROWS_PER_PASS,
        ),
    }
    queues = {"batch-split": split, "batch-finish": finish}
    return [
        EventSource(
            queue=queues[name],
            function=LocalFunction(
                f"laneway-{settings.stage}-{name}", handler, timeout_s=TIMEOUT_S
            ),
            name=f"laneway-{settings.stage}-{name}",
            batch_size=1,
        )
        for name, handler in handlers.items()
    ]


def _store(resources: Resources) -> DynamoBatchStore:
    return DynamoBatchStore(resources.dynamodb, table=resources.batches_table)


def _objects(resources: Resources) -> S3ObjectStore:
    return S3ObjectStore(resources.s3, bucket=resources.bucket)
