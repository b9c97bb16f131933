"""What ingress may do to accept jobs and batches, and to answer for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.results.batches_table import COUNTED as BATCHES_COUNTED
from shared.results.batches_table import LISTED as BATCHES_LISTED
from shared.results.table import COUNTED, LISTED
from stacks import names
from stacks.parts.permissions import allow, allow_below, allow_invoking

if TYPE_CHECKING:
    from stacks.parts.function import LanewayFunction
    from stacks.parts.job_resources import JobResources


def allow_accepting_jobs(part: LanewayFunction, resources: JobResources) -> None:
    """Accept jobs, answer for them, and sign places to upload to and to read results at."""
    allow(
        part,
        "KeepJobs",
        actions=["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"],
        resources=[resources.table_arn()],
    )
    allow(
        part,
        "ListJobs",
        actions=["dynamodb:Query"],
        resources=[resources.table_arn(index=index) for index in (LISTED, COUNTED)],
    )
    allow(part, "SendJobs", actions=["sqs:SendMessage"], resources=resources.job_queue_arns)
    allow_below(
        part,
        "WriteInputs",
        actions=["s3:PutObject"],
        arns=resources.objects("inputs/", "uploads/"),
    )
    allow_below(
        part,
        "ReadResults",
        actions=["s3:GetObject"],
        arns=resources.objects("results/", "batches/"),
    )
    allow_invoking(part, resources, [*resources.send_functions, *resources.scaler_functions])
    _allow_batches(part, resources)


def _allow_batches(part: LanewayFunction, resources: JobResources) -> None:
    stage = resources.stage.name
    allow(
        part,
        "KeepBatches",
        actions=["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"],
        resources=[resources.batches_arn()],
    )
    allow(
        part,
        "ListBatches",
        actions=["dynamodb:Query"],
        resources=[
            resources.batches_arn(index=index) for index in (BATCHES_LISTED, BATCHES_COUNTED)
        ],
    )
    queues = (names.split_queue(stage), names.finish_queue(stage))
    allow(
        part,
        "SendBatches",
        actions=["sqs:SendMessage"],
        resources=[resources.queue_arn(queue) for queue in queues],
    )
