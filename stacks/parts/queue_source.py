"""A queue as the source of a function's events: partial answers, bounded concurrency, own permission."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Duration
from aws_cdk import aws_lambda as lambda_

from stacks.parts.acknowledge import acknowledge
from stacks.parts.permissions import RECEIVE, allow

if TYPE_CHECKING:
    from stacks.parts.function import LanewayFunction


def consume(
    part: LanewayFunction,
    construct_id: str,
    *,
    queue_arn: str,
    batch_size: int,
    max_concurrency: int,
    window_s: int = 0,
) -> None:
    """Deliver the queue's messages to the function; what it names as failed stays on the queue."""
    allow(part, f"Consume{construct_id.title()}", actions=RECEIVE, resources=[queue_arn])
    mapping = lambda_.EventSourceMapping(
        part,
        construct_id,
        target=part.function,
        event_source_arn=queue_arn,
        batch_size=batch_size,
        max_batching_window=Duration.seconds(window_s) if window_s else None,
        max_concurrency=max_concurrency,
        report_batch_item_failures=True,
    )
    acknowledge(
        mapping,
        rule="Serverless-LambdaEventSourceMappingDestination",
        reason="Lambda offers no destination for failures of a queue of SQS: the queue's own redrive policy "
        "takes what was received too often.",
    )
