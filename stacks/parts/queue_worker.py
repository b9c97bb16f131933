"""A pool's workers: one function runs its jobs, another the chunks of its batches, with longer patience.

Both are the same handler on the pool's package. They are two, because a timeout is a function's: what a
killed worker held is free again only after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from constructs import Construct

from shared.settings import QueueWorkerSettings
from stacks import names
from stacks.parts.function import LanewayFunction, with_plugins_off
from stacks.parts.job_resources import CHUNKS, JobResources
from stacks.parts.permissions import allow, allow_below, allow_table, objects_at
from stacks.parts.queue_source import consume

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aws_cdk import Stack
    from aws_cdk import aws_kms as kms
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
        tables_key: kms.IKey | None,
    ) -> None:
        super().__init__(stack, construct_id)
        stage, resources = deployment.stage, JobResources(stack, deployment)
        self.part = LanewayFunction(
            self,
            "Worker",
            stage=stage,
            name=feeds.function,
            description=f"Runs {feeds.what} of pool {pool}",
            handler=HANDLER,
            package=deployment.assets.pools[pool],
            layers=layers,
            environment=_environment(deployment, resources, pool),
            memory_mib=deployment.queue_pools[pool].memory_mib,
            timeout_s=feeds.timeout_s,
        )
        _allow_jobs(self.part, resources, tables_key)
        _allow_payloads(self.part, resources)
        _allow_queues(self.part, resources, pool)
        _allow_batches(self.part, resources, pool)
        for kind, source in feeds.sources.items():
            consume(
                self.part,
                kind,
                queue_arn=resources.queue_arn(names.pool_queue(stage.name, pool, kind)),
                **source,
            )


def _environment(deployment: Deployment, resources: JobResources, pool: str) -> dict[str, str]:
    settings = QueueWorkerSettings(
        **resources.settings(),
        pool=pool,
        session_budget_mib=session_budget_mib(deployment.queue_pools[pool]),
        dead_letters={
            kind: resources.queue_url(names.dead_letters(name))
            for kind, name in resources.pool_queues(pool).items()
        },
        webhooks_queue=resources.queue_url(names.webhooks_queue(deployment.stage.name)),
        models_elsewhere=_models_elsewhere(deployment, pool),
    )
    return with_plugins_off({**settings.to_env(), **BLAS_ON_ONE_THREAD})


def _models_elsewhere(deployment: Deployment, pool: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for entry in deployment.queued_models:
        if entry.spec.pool != pool:
            found.setdefault(entry.spec.pool, []).append(entry.name)
    return found


def _allow_jobs(part: LanewayFunction, resources: JobResources, key: kms.IKey | None) -> None:
    allow_table(
        part,
        "RunJobs",
        actions=["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"],
        arns=[resources.table_arn()],
        key=key,
    )


def _allow_payloads(part: LanewayFunction, resources: JobResources) -> None:
    lane = resources.stage.queue_lane
    named = [place for places in lane.input_places.values() for place in places]
    allow_below(
        part,
        "ReadInputs",
        actions=["s3:GetObject"],
        arns=[*resources.objects("inputs/", "uploads/", "results/"), *objects_at(named)],
    )
    allow_below(
        part,
        "WriteResults",
        actions=["s3:PutObject"],
        arns=[
            *resources.objects("inputs/", "results/"),
            *objects_at(list(lane.result_aliases.values())),
        ],
    )
    # Without it S3 answers 403 for an upload that is not there, and nobody could tell it from a fault.
    allow(part, "TellMissing", actions=["s3:ListBucket"], resources=[resources.bucket_arn])


def _allow_queues(part: LanewayFunction, resources: JobResources, pool: str) -> None:
    """Forward to any pool's queue, bury on its own dead-letter queues, and tell of webhooks."""
    own = [names.dead_letters(name) for name in resources.pool_queues(pool).values()]
    told = [*own, names.webhooks_queue(resources.stage.name)]
    allow(
        part,
        "SendMessages",
        actions=["sqs:SendMessage"],
        resources=[*resources.job_queue_arns, *(resources.queue_arn(name) for name in told)],
    )


def _allow_batches(part: LanewayFunction, resources: JobResources, pool: str) -> None:
    """Lease chunks, read lines, write the parts of output files, and tell who waits for the last."""
    stage = resources.stage.name
    allow(
        part,
        "RunChunks",
        actions=["dynamodb:GetItem", "dynamodb:UpdateItem"],
        resources=[resources.batches_arn()],
    )
    allow_below(
        part,
        "ReadAndWriteChunks",
        actions=["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"],
        arns=resources.objects("batches/"),
    )
    queues = (names.finish_queue(stage), names.pool_queue(stage, pool, CHUNKS))
    allow(
        part,
        "SendBatches",
        actions=["sqs:SendMessage"],
        resources=[resources.queue_arn(queue) for queue in queues],
    )
