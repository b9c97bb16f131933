"""Puts a pool's worker together from its settings and its package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from functions.queue_worker.service import CHUNKS
from shared.aws import make_client
from shared.inference.loading import open_sessions
from shared.jobs.batches.facts import tell_nobody
from shared.jobs.batches.run_chunk import ChunkRunner, ChunkWorker
from shared.jobs.clock import system_clock
from shared.jobs.parallel import Parallel
from shared.jobs.rules import JobRules
from shared.jobs.submit import Jobs
from shared.jobs.work import Worker
from shared.limits import LAMBDA_MEMORY_MIB_PER_VCPU, MIB
from shared.queues.sqs import SqsQueue
from shared.results.batches_dynamodb import DynamoBatchStore
from shared.results.dynamodb import DynamoJobStore
from shared.results.objects_s3 import S3ObjectStore
from shared.results.s3 import S3PayloadStore
from shared.schema.compiled import load_validators

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from shared.catalog import Catalog
    from shared.jobs.batches.facts import ChunkFacts
    from shared.jobs.clock import Clock
    from shared.jobs.facts import Reporter
    from shared.queues.protocol import Queue
    from shared.settings import QueueWorkerSettings


def make_worker(
    settings: QueueWorkerSettings,
    *,
    catalog: Catalog,
    package: Path,
    memory_mib: int,
    reporter: Reporter,
    clock: Clock = system_clock,
) -> Worker:
    """The worker over DynamoDB, S3 and SQS; no model is loaded yet.

    `memory_mib`: the function's memory, which decides how many threads a run may use.
    """
    store = DynamoJobStore(make_client("dynamodb"), table=settings.jobs_table, clock=clock)
    payloads = S3PayloadStore(make_client("s3"), bucket=settings.bucket)
    sqs = make_client("sqs")
    queues = _queues(settings, sqs)
    rules = JobRules.of(settings)
    return Worker(
        pool=settings.pool,
        catalog=catalog,
        sessions=open_sessions(
            package,
            catalog,
            budget_bytes=settings.session_budget_mib * MIB,
            threads=max(1, memory_mib // LAMBDA_MEMORY_MIB_PER_VCPU),
        ),
        store=store,
        payloads=payloads,
        jobs=Jobs(
            catalog=catalog,
            store=store,
            payloads=payloads,
            queues=queues,
            rules=rules,
            clock=clock,
        ),
        rules=rules,
        queues=queues,
        validate=load_validators(catalog.validators).inference_request,
        clock=clock,
        parallel=Parallel(threads=settings.threads),
        reporter=reporter,
        tenant=settings.tenant,
        elsewhere={
            model: pool for pool, models in settings.models_elsewhere.items() for model in models
        },
        events=SqsQueue(sqs, url=settings.webhooks_queue) if settings.webhooks_queue else None,
    )


def make_chunk_runner(
    settings: QueueWorkerSettings,
    worker: Worker,
    *,
    told: Callable[[ChunkFacts], None] = tell_nobody,
) -> ChunkRunner | None:
    """What runs chunks of batches with the worker's models; None in a stage without batches.

    `told`: of each run of a chunk.
    """
    chunks = worker.queues.get((settings.pool, CHUNKS))
    if chunks is None or not settings.batches_table:
        return None
    reporter = worker.reporter
    return ChunkRunner(
        ChunkWorker(
            catalog=worker.catalog,
            sessions=worker.sessions,
            validate=worker.validate,
            batches=DynamoBatchStore(make_client("dynamodb"), table=settings.batches_table),
            objects=S3ObjectStore(make_client("s3"), bucket=settings.bucket),
            chunks=chunks,
            finish=SqsQueue(make_client("sqs"), url=settings.finish_queue),
            clock=worker.clock,
            timeout_s=worker.rules.timeout_s,
            report=lambda error: reporter.defect(error, None),
            told=told,
        )
    )


def queue_names(settings: QueueWorkerSettings) -> dict[str, str]:
    """Latency classes, and `chunks`, by the names of the queues that the pool's worker consumes."""
    return {
        url.rpartition("/")[2]: latency_class
        for latency_class, url in settings.queues[settings.pool].items()
    }


def _queues(settings: QueueWorkerSettings, sqs: Any) -> Mapping[tuple[str, str], Queue]:
    return {
        (pool, latency_class): SqsQueue(
            sqs,
            url=url,
            dead_letter_url=settings.dead_letters.get(latency_class)
            if pool == settings.pool
            else None,
        )
        for pool, urls in settings.queues.items()
        for latency_class, url in urls.items()
    }
