"""A pool's workers: one function runs its jobs, another the chunks of its batches, with longer patience.

Both are the same handler on the pool's package. They are two, because a timeout is a function's: what a
killed worker held is free again only after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from constructs import Construct

from shared.settings.jobs import QueueWorkerSettings
from stacks import names
from stacks.parts.fetched_models import FetchedModels
from stacks.parts.function import LanewayFunction, with_plugins_off
from stacks.parts.job_resources import CHUNKS, JobResources
from stacks.parts.limits import allow_counting
from stacks.parts.pool_permissions import allow_chunks, allow_jobs
from stacks.parts.queue_source import consume

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aws_cdk import Stack
    from aws_cdk import aws_lambda as lambda_

    from shared.schema.spec import PoolSpec
    from stacks.deployment import Deployment
    from stacks.stages import Stage

HANDLER: Final = "functions.queue_worker.handler.handler"
BLAS_ON_ONE_THREAD: Final[Mapping[str, str]] = {"OPENBLAS_NUM_THREADS": "1"}
"""numpy computes little here, and its idle threads would cost a session theirs."""
_SESSION_SHARE: Final = 0.5
"""Of a function's memory: model files whose sessions are kept; the rest is for arenas, requests and Python."""


def session_budget_mib(spec: PoolSpec) -> int:
    """Bytes of model files, in MiB, whose sessions a function of the pool keeps."""
    return int(spec.memory_mib * _SESSION_SHARE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Feeds:
    """What a worker is called and fed with; `sources`: arguments of `consume`, by the queue's kind."""

    function: str
    what: str
    timeout_s: int
    sources: Mapping[str, Mapping[str, int]]


def job_feeds(stage: Stage, pool: str) -> Feeds:
    """The worker of the pool's async and batch jobs."""
    lane = stage.queue_lane
    return Feeds(
        function=names.queue_worker_function(stage.name, pool),
        what="the jobs",
        timeout_s=lane.worker_timeout_s,
        sources={
            kind: {
                "batch_size": delivery.batch_size,
                "window_s": delivery.window_s,
                "max_concurrency": delivery.max_concurrency,
            }
            for kind, delivery in lane.deliveries.items()
        },
    )


def chunk_feeds(stage: Stage, pool: str) -> Feeds:
    """The worker of chunks: one a delivery, since each is work for minutes."""
    lane = stage.queue_lane
    return Feeds(
        function=names.chunk_worker_function(stage.name, pool),
        what="the chunks of batches",
        timeout_s=lane.chunk_timeout_s,
        sources={CHUNKS: {"batch_size": 1, "max_concurrency": lane.chunks_concurrency}},
    )


class QueueWorker(Construct):
    """Not behind an alias: a queue waits for a cold start, and nobody pays to keep one warm."""

    def __init__(
        self,
        stack: Stack,
        construct_id: str,
        *,
        deployment: Deployment,
        pool: str,
        feeds: Feeds,
        layers: Sequence[lambda_.ILayerVersion],
    ) -> None:
        super().__init__(stack, construct_id)
        stage, resources = deployment.stage, JobResources(stack, deployment)
        models = FetchedModels(self, deployment, pool)
        self.part = LanewayFunction(
            self,
            "Worker",
            stage=stage,
            name=feeds.function,
            description=f"Runs {feeds.what} of pool {pool}",
            handler=HANDLER,
            package=deployment.assets.pools[pool],
            layers=layers,
            environment=_environment(deployment, resources, pool, models_bucket=models.bucket),
            memory_mib=deployment.queue_pools[pool].memory_mib,
            disk_mib=models.disk_mib,
            timeout_s=feeds.timeout_s,
        )
        models.allow(self.part)
        if CHUNKS in feeds.sources:
            allow_chunks(self.part, resources, pool)
        else:
            allow_jobs(self.part, resources, pool)
        allow_counting(self.part, stack, stage.name)
        for kind, source in feeds.sources.items():
            consume(
                self.part,
                kind,
                queue_arn=resources.queue_arn(names.pool_queue(stage.name, pool, kind)),
                **source,
            )


def _capacity(stage: Stage) -> dict[str, float]:
    """What all workers of a pool have in hand at most, by queue."""
    jobs = {
        kind: delivery.batch_size * delivery.max_concurrency
        for kind, delivery in stage.queue_lane.deliveries.items()
    }
    return {**jobs, CHUNKS: stage.queue_lane.chunks_concurrency}


def _environment(
    deployment: Deployment, resources: JobResources, pool: str, *, models_bucket: str
) -> dict[str, str]:
    settings = QueueWorkerSettings(
        **resources.settings(),
        pool=pool,
        session_budget_mib=session_budget_mib(deployment.queue_pools[pool]),
        models_bucket=models_bucket,
        dead_letters=resources.dead_letters(pool),
        webhooks_queue=resources.queue_url(names.webhooks_queue(deployment.stage.name)),
        models_elsewhere=deployment.models_elsewhere(pool),
        tenant_share=deployment.stage.queue_lane.tenant_share,
        capacity=_capacity(deployment.stage),
        usage_table=names.usage_table(deployment.stage.name),
    )
    return with_plugins_off({**settings.to_env(), **BLAS_ON_ONE_THREAD})
