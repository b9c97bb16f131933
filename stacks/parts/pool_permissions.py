"""What whoever works on a pool's jobs and chunks may do: a function of Lambda, or a worker on ECS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stacks import names
from stacks.parts.job_resources import CHUNKS
from stacks.parts.permissions import RECEIVE, allow, allow_below, objects_at

if TYPE_CHECKING:
    from stacks.parts.job_resources import JobResources
    from stacks.parts.permissions import HasRole


def allow_working(part: HasRole, resources: JobResources, pool: str) -> None:
    """Run jobs and chunks of the pool, and tell who waits for them; not: receive them."""
    _allow_jobs(part, resources)
    _allow_payloads(part, resources)
    _allow_queues(part, resources, pool)
    _allow_batches(part, resources, pool)


def allow_receiving(part: HasRole, resources: JobResources, queues: list[str]) -> None:
    """Take messages off queues of SQS, for who polls them itself."""
    allow(
        part,
        "ReceiveMessages",
        actions=RECEIVE,
        resources=[resources.queue_arn(queue) for queue in queues],
    )


def _allow_jobs(part: HasRole, resources: JobResources) -> None:
    allow(
        part,
        "RunJobs",
        actions=["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"],
        resources=[resources.table_arn()],
    )


def _allow_payloads(part: HasRole, resources: JobResources) -> None:
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


def _allow_queues(part: HasRole, resources: JobResources, pool: str) -> None:
    """Forward to any pool's queue, bury on its own dead-letter queues, and tell of webhooks."""
    own = [names.dead_letters(name) for name in resources.sqs_queues(pool).values()]
    told = [*own, names.webhooks_queue(resources.stage.name)]
    allow(
        part,
        "SendMessages",
        actions=["sqs:SendMessage"],
        resources=[*resources.job_queue_arns, *(resources.queue_arn(name) for name in told)],
    )


def _allow_batches(part: HasRole, resources: JobResources, pool: str) -> None:
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
