"""The sweeper as a Lambda handler: one pass over the table, counted in one log line with metrics."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from shared.jobs.clock import system_clock
from shared.jobs.rules import JobRules
from shared.jobs.sweep import Sweeper
from shared.queues.invoked import connect_lambda
from shared.queues.opened import open_queues
from shared.queues.sqs import SqsQueue
from shared.results.dynamodb import DynamoJobStore
from shared.telemetry import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aws_lambda_powertools import Logger
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sqs import SQSClient

    from shared.jobs.clock import Clock
    from shared.settings.jobs import SweeperSettings

COUNTS: Final = ("sent", "events", "expired", "exhausted", "postponed", "given_up", "not_confirmed")
_PREFIX: Final = "swept_"


def make_handler(
    settings: SweeperSettings,
    *,
    dynamodb: DynamoDBClient,
    sqs: SQSClient,
    logger: Logger,
    clock: Clock = system_clock,
    connect_lambda: Callable[[], LambdaClient] = connect_lambda,
) -> Callable[[Mapping[str, Any], Any], dict[str, int]]:
    """The Lambda handler; it gives the counts of the pass."""
    webhooks = settings.webhooks_queue
    sweeper = Sweeper(
        store=DynamoJobStore(dynamodb, table=settings.jobs_table, clock=clock),
        queues=open_queues(settings, sqs=sqs, connect_lambda=connect_lambda),
        events=SqsQueue(sqs, url=webhooks) if webhooks else None,
        rules=JobRules.of(settings),
        clock=clock,
        unsent_after_s=settings.unsent_after_s,
        rows_max=settings.rows_per_pass,
    )

    def handler(_: Mapping[str, Any], context: Any) -> dict[str, int]:
        counts = sweeper.sweep()
        told = {name: counts[name] for name in COUNTS}
        found = {f"{_PREFIX}{name}": count for name, count in told.items() if count}
        logger.info(
            "sweep",
            extra={
                "function_request_id": context.aws_request_id,
                "stage": settings.stage,
                **found,
                **(_directive(found) if found else {}),
            },
        )
        return told

    return handler


def _directive(metrics: Mapping[str, int]) -> dict[str, Any]:
    """EMF. Zeros are left out: written every minute, they would bill seven metrics of a stage at rest."""
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [["stage"]],
        "Metrics": [{"Name": name, "Unit": "Count"} for name in metrics],
    }
    return {"_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}}
