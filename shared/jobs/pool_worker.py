"""A pool's worker over DynamoDB and S3, put together alike for Lambda and for the process that lives long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.aws import make_client
from shared.jobs.batches.chunk_share import ChunkShare
from shared.jobs.batches.messages import CHUNKS
from shared.jobs.batches.run_chunk import ChunkRunner, ChunkWorker
from shared.jobs.clock import system_clock
from shared.jobs.parallel import Parallel
from shared.jobs.rules import JobRules
from shared.jobs.sharing import NO_SHARING, Sharing
from shared.jobs.submit import Jobs
from shared.jobs.work import Worker
from shared.queues.sqs import SqsQueue
from shared.results.batches_dynamodb import DynamoBatchStore
from shared.results.dynamodb import DynamoJobStore
from shared.results.objects_s3 import S3ObjectStore
from shared.results.s3 import S3PayloadStore
from shared.routing.lane import GPU
from shared.schema.compiled import load_validators

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.catalog import Catalog
    from shared.inference.pipeline import ServedModel
    from shared.inference.sessions import Sessions
    from shared.jobs.clock import Clock
    from shared.jobs.facts import Reporter
    from shared.queues.protocol import Queue
    from shared.settings.jobs import PoolWorkerSettings


def make_pool_worker(
    settings: PoolWorkerSettings,
    *,
    catalog: Catalog,
    sessions: Sessions[ServedModel],
    queues: Mapping[tuple[str, str], Queue],
    sqs: Any,
    reporter: Reporter,
    clock: Clock = system_clock,
    sharing: Sharing = NO_SHARING,
) -> Worker:
    """The worker of a pool. `queues`: of all pools; `sqs`: the client for the webhooks' queue."""
    store = DynamoJobStore(make_client("dynamodb"), table=settings.jobs_table, clock=clock)
    payloads = S3PayloadStore(make_client("s3"), bucket=settings.bucket)
    rules = JobRules.of(settings)
    return Worker(
        pool=settings.pool,
        catalog=catalog,
        sessions=sessions,
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
        sharing=sharing,
        lane="gpu" if any(m.compute == GPU for m in catalog.models.values()) else "queue",
    )


def make_pool_chunk_runner(
    settings: PoolWorkerSettings, worker: Worker, *, chunks: Queue, **options: Any
) -> ChunkRunner:
    """What runs chunks of batches with the worker's models. `options`: further members of `ChunkWorker`."""
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
            share=_chunk_share(worker),
            **options,
        )
    )


def _chunk_share(worker: Worker) -> ChunkShare | None:
    chunks_max = worker.sharing.jobs_max.get(CHUNKS)
    if chunks_max is None:
        return None
    line = f"{worker.pool}/{CHUNKS}"
    return ChunkShare(shares=worker.sharing.shares, line=line, chunks_max=chunks_max)
