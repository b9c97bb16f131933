"""Puts a pool's worker together from its settings and its package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from functions.queue_worker.service import CHUNKS
from shared.aws import make_client
from shared.inference.loading import open_sessions
from shared.jobs.batches.facts import tell_nobody
from shared.jobs.clock import system_clock
from shared.jobs.pool_worker import make_pool_chunk_runner, make_pool_worker
from shared.jobs.sharing import NO_SHARING, Sharing
from shared.limiting.shares_dynamodb import DynamoShares
from shared.limits import LAMBDA_MEMORY_MIB_PER_VCPU, MIB
from shared.queues.sqs import SqsQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from shared.catalog import Catalog
    from shared.inference.verifying import ModelFiles
    from shared.jobs.batches.facts import ChunkFacts
    from shared.jobs.batches.run_chunk import ChunkRunner
    from shared.jobs.clock import Clock
    from shared.jobs.facts import Reporter
    from shared.jobs.work import Worker
    from shared.queues.protocol import Queue
    from shared.settings.jobs import QueueWorkerSettings


def make_worker(
    settings: QueueWorkerSettings,
    *,
    catalog: Catalog,
    package: Path,
    memory_mib: int,
    reporter: Reporter,
    clock: Clock = system_clock,
    files: ModelFiles | None = None,
) -> Worker:
    """The worker over DynamoDB, S3 and SQS; no model is loaded yet.

    `memory_mib`: the function's memory, which decides how many threads a run may use. `files`: where the models
    are; None: in the package.
    """
    sqs = make_client("sqs")
    return make_pool_worker(
        settings,
        catalog=catalog,
        sessions=open_sessions(
            package,
            catalog,
            budget_bytes=settings.session_budget_mib * MIB,
            threads=max(1, memory_mib // LAMBDA_MEMORY_MIB_PER_VCPU),
            files=files,
            settle=True,
        ),
        queues=_queues(settings, sqs),
        sqs=sqs,
        reporter=reporter,
        clock=clock,
        sharing=_sharing(settings),
    )


def _sharing(settings: QueueWorkerSettings) -> Sharing:
    """How many jobs of one tenant all workers of the pool may have in hand, by queue."""
    if settings.tenant_share >= 1 or not settings.usage_table:
        return NO_SHARING
    return Sharing(
        shares=DynamoShares(make_client("dynamodb"), table=settings.usage_table),
        jobs_max={
            queue: max(1, int(jobs * settings.tenant_share))
            for queue, jobs in settings.capacity.items()
        },
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
    return make_pool_chunk_runner(settings, worker, chunks=chunks, told=told)


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
