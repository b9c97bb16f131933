"""The jobs of a stage, reached with the caller's AWS identity rather than through the API.

Which table, bucket and queues a stage has is asked of its ingress function, which was told at
deployment: nothing is guessed from names, and every stage answers alike, `local` too.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cli.output import CommandError
from cli.stage_letters import FINISH, SPLIT, WEBHOOKS
from cli.stages import aws_client, explained

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.jobs.retry import Retries
    from shared.queues.sqs import SqsQueue
    from shared.results.store import JobStore
    from shared.settings import IngressSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetters:
    """The dead-letter queue of one queue."""

    pool: str
    """Empty: the queue is the whole stage's."""
    kind: str
    """The queue's latency class, or what else it carries."""
    name: str
    queue: SqsQueue
    source: SqsQueue


@dataclass(frozen=True, slots=True, kw_only=True)
class StageJobs:
    """What an operator works on."""

    tenant: str
    """Whose the messages are that users drop."""
    store: JobStore
    retries: Retries
    dead_letters: tuple[DeadLetters, ...]


@contextmanager
def open_stage(stage: str, region: str | None) -> Iterator[StageJobs]:
    """The stage's jobs; what AWS refuses meanwhile becomes a message with the way out."""
    function = f"laneway-{stage}-ingress"
    with explained(function, stage):
        client = aws_client("lambda", stage, region)
        told = client.get_function_configuration(FunctionName=function)
    environment = told.get("Environment", {}).get("Variables", {})
    with explained(f"jobs of stage {stage}", stage):
        yield _opened(environment, stage, region, webhooks=_webhooks_queue(client, stage))


def _webhooks_queue(client: Any, stage: str) -> str:
    """URL of the queue of webhooks, as their function was told; empty in a stage without webhooks."""
    try:
        told = client.get_function_configuration(FunctionName=f"laneway-{stage}-webhooks")
    except client.exceptions.ResourceNotFoundException:
        return ""
    return str(told.get("Environment", {}).get("Variables", {}).get("WEBHOOKS_QUEUE", ""))


def _opened(
    environment: dict[str, str], stage: str, region: str | None, *, webhooks: str
) -> StageJobs:
    from shared.jobs.clock import system_clock
    from shared.jobs.retry import Retries
    from shared.jobs.rules import JobRules
    from shared.queues.sqs import SqsQueue
    from shared.results.dynamodb import DynamoJobStore
    from shared.results.s3 import S3PayloadStore
    from shared.settings import IngressSettings

    settings = IngressSettings.from_env(environment)
    if not settings.jobs_table:
        raise CommandError(f"stage {stage} keeps no jobs: deploy it with queues")
    sqs = aws_client("sqs", stage, region)
    store = DynamoJobStore(
        aws_client("dynamodb", stage, region), table=settings.jobs_table, clock=system_clock
    )
    queues = {
        (pool, kind): SqsQueue(sqs, url=url)
        for pool, urls in settings.queues.items()
        for kind, url in urls.items()
    }
    return StageJobs(
        tenant="default",
        store=store,
        retries=Retries(
            store=store,
            payloads=S3PayloadStore(aws_client("s3", stage, region), bucket=settings.bucket),
            queues=queues,
            rules=JobRules.of(settings),
            clock=system_clock,
        ),
        dead_letters=tuple(
            _dead_letters(sqs, pool=pool, kind=kind, url=url)
            for pool, kind, url in _every_queue(settings, webhooks)
        ),
    )


def _every_queue(settings: IngressSettings, webhooks: str) -> Iterator[tuple[str, str, str]]:
    """Pool, kind and URL of each queue that has dead letters; those of the whole stage come last."""
    for pool, urls in settings.queues.items():
        for kind, url in urls.items():
            yield pool, kind, url
    of_stage = {WEBHOOKS: webhooks, SPLIT: settings.split_queue, FINISH: settings.finish_queue}
    for kind, url in of_stage.items():
        if url:
            yield "", kind, url


def _dead_letters(sqs: Any, *, pool: str, kind: str, url: str) -> DeadLetters:
    """Found by the queue's own redrive policy."""
    from shared.queues.sqs import SqsQueue

    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])
    policy = json.loads(answer.get("Attributes", {}).get("RedrivePolicy", "{}"))
    if "deadLetterTargetArn" not in policy:
        raise CommandError(f"the queue {url.rpartition('/')[2]} has no dead-letter queue")
    name = policy["deadLetterTargetArn"].rpartition(":")[2]
    dead_url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    return DeadLetters(
        pool=pool,
        kind=kind,
        name=name,
        queue=SqsQueue(sqs, url=dead_url),
        source=SqsQueue(sqs, url=url),
    )
