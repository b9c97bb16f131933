"""What whoever works on a pool's jobs and chunks may do: a function of Lambda, or a worker on ECS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stacks import names
from stacks.parts.job_resources import CHUNKS
from stacks.parts.permissions import RECEIVE, allow, allow_below, objects_at

if TYPE_CHECKING:
    from stacks.parts.job_resources import JobResources
    from stacks.parts.permissions import HasRole


def allow_jobs(part: HasRole, resources: JobResources, pool: str) -> None:
    """Run jobs of the pool, and tell who waits for them; not: receive them."""
    allow(
        part,
        "RunJobs",
        actions=["dynamodb:PutItem", "dynamodb:UpdateItem"],
        resources=[resources.table_arn()],
    )
    _allow_payloads(part, resources)
    _allow_queues(part, resources, pool)


def allow_chunks(part: HasRole, resources: JobResources, pool: str) -> None:
    """Lease chunks of batches, read lines, write the parts of output files, tell who waits for the last."""
    stage = resources.stage.name
    allow(
        part,
        "RunChunks",
        actions=["dynamodb:GetItem", "dynamodb:UpdateItem"],
        resources=[resources.batches_arn()],
    )
    allow_below(
        part,
        "ReadLines",
        actions=["s3:GetObject"],
        arns=[*resources.objects("uploads/", "batches/"), *objects_at(_named_places(resources))],
    )
    allow_below(
        part,
        "WriteParts",
        actions=["s3:PutObject", "s3:AbortMultipartUpload"],
        arns=resources.objects("batches/"),
    )
    _allow_telling_missing(part, resources)
    chunks = names.pool_queue(stage, pool, CHUNKS)
    queues = (chunks, names.dead_letters(chunks), names.finish_queue(stage))
    allow(
        part,
        "SendBatches",
        actions=["sqs:SendMessage"],
        resources=[resources.queue_arn(queue) for queue in queues],
    )


def allow_receiving(part: HasRole, resources: JobResources, queues: list[str]) -> None:
    """Take messages off queues of SQS, for who polls them itself."""
    allow(
        part,
        "ReceiveMessages",
        actions=RECEIVE,
        resources=[resources.queue_arn(queue) for queue in queues],
    )


def _allow_payloads(part: HasRole, resources: JobResources) -> None:
    """A result that is copied to an alias is read for that; where there is none, nobody reads results."""
    aliases = list(resources.stage.queue_lane.result_aliases.values())
    copied = resources.objects("results/") if aliases else []
    allow_below(
        part,
        "ReadInputs",
        actions=["s3:GetObject"],
        arns=[
            *resources.objects("inputs/", "uploads/"),
            *copied,
            *objects_at(_named_places(resources)),
        ],
    )
    allow_below(
        part,
        "WriteResults",
        actions=["s3:PutObject"],
        arns=[*resources.objects("inputs/", "results/"), *objects_at(aliases)],
    )
    _allow_telling_missing(part, resources)


def _allow_queues(part: HasRole, resources: JobResources, pool: str) -> None:
    """Forward to another pool's queue, bury on its own dead-letter queues, and tell of webhooks."""
    own = [name for kind, name in resources.sqs_queues(pool).items() if kind != CHUNKS]
    told = [*map(names.dead_letters, own), names.webhooks_queue(resources.stage.name)]
    allow(
        part,
        "SendMessages",
        actions=["sqs:SendMessage"],
        resources=[
            *resources.job_queue_arns_beside(pool),
            *(resources.queue_arn(name) for name in told),
        ],
    )


def _allow_telling_missing(part: HasRole, resources: JobResources) -> None:
    """Without it S3 answers 403 for an upload that is not there, and nobody could tell it from a fault."""
    allow(part, "TellMissing", actions=["s3:ListBucket"], resources=[resources.bucket_arn])


def _named_places(resources: JobResources) -> list[str]:
    lane = resources.stage.queue_lane
    return [place for places in lane.input_places.values() for place in places]
