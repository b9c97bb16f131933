"""Batches that a stage begins by the clock: one schedule each, which tells the splitter's queue."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from aws_cdk import Aws
from aws_cdk import aws_iam as iam
from aws_cdk import aws_scheduler as scheduler

from stacks import names

if TYPE_CHECKING:
    from aws_cdk import Stack

    from stacks.parts.job_resources import JobResources
    from stacks.recurring_batch import RecurringBatch

_EXECUTION: Final = "<aws.scheduler.execution-id>"
"""Filled in by the scheduler; the same when it tells of one execution twice."""


def schedule_batches(stack: Stack, resources: JobResources) -> None:
    """A schedule for each recurring batch of the stage; nothing where there are none."""
    batches = resources.stage.recurring_batches
    if not batches:
        return
    queue = resources.queue_arn(names.split_queue(resources.stage.name))
    role = _role(stack, queue)
    for batch in batches:
        scheduler.CfnSchedule(
            stack,
            f"Recurring-{batch.name}",
            name=f"laneway-{resources.stage.name}-{batch.name}",
            description=f"Begins the batch {batch.name}",
            schedule_expression=batch.schedule,
            schedule_expression_timezone=batch.timezone,
            flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
            target=scheduler.CfnSchedule.TargetProperty(
                arn=queue, role_arn=role.role_arn, input=_message(batch)
            ),
        )


def _role(stack: Stack, queue: str) -> iam.Role:
    role = iam.Role(
        stack,
        "RecurringRole",
        assumed_by=iam.ServicePrincipal(
            "scheduler.amazonaws.com",
            conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
        ),
        description="Lets schedules begin batches",
    )
    role.add_to_policy(
        iam.PolicyStatement(sid="Begin", actions=["sqs:SendMessage"], resources=[queue])
    )
    return role


def _message(batch: RecurringBatch) -> str:
    recurring = {
        "tenant": batch.tenant,
        "id": f"{batch.name}-{_EXECUTION}",
        "submission": dict(batch.submission),
    }
    return json.dumps({"schema_version": 1, "recurring": recurring})
