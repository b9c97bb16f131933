"""The jobs of a stage, reached with the caller's AWS identity rather than through the API.

Which table, bucket and queues a stage has is asked of its ingress function, which was told at
deployment: nothing is guessed from names, and every stage answers alike, `local` too.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cli.output import CommandError
from cli.stage_letters import FINISH, SPLIT, WEBHOOKS
from cli.stages import aws_client, explained

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.jobs.retry import Retries
    from shared.queues.protocol import Queue
    from shared.queues.rabbitmq import RabbitBroker
    from shared.results.store import JobStore
    from shared.settings.jobs import IngressSettings, JobSettings

LETTERS_HELD: Final = 10_000
"""Dead letters of a queue in RabbitMQ that are looked at in one command, at most."""
HELD_S: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetters:
    """The dead-letter queue of one queue."""

    pool: str
    """Empty: the queue is the whole stage's."""
    kind: str
    """The queue's latency class, or what else it carries."""
    name: str
    queue: Queue
    source: Queue
    wait_s: float = 1.0
    """For so long a message is waited for before the queue is taken to be empty; SQS may be late with one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageJobs:
    """What an operator works on."""

    tenant: str
    """Whose the messages are that users drop."""
    store: JobStore
    retries: Retries
    settings: JobSettings
    """What its ingress function was told."""
    dead_letters: tuple[DeadLetters, ...]
    beyond: tuple[str, ...] = ()
    """Pool and kind of queues in a RabbitMQ that was not named."""


@contextmanager
def open_stage(stage: str, region: str | None, *, amqp_url: str = "") -> Iterator[StageJobs]:
    """The stage's jobs; what AWS refuses meanwhile becomes a message with the way out.

    `amqp_url`: of the RabbitMQ that carries the stage's jobs, to see its dead letters.
    """
    function = f"laneway-{stage}-ingress"
    with explained(function, stage):
        client = aws_client("lambda", stage, region)
        told = client.get_function_configuration(FunctionName=function)
    environment = told.get("Environment", {}).get("Variables", {})
    with explained(f"jobs of stage {stage}", stage), _broker(amqp_url) as broker:
        webhooks = _webhooks_queue(client, stage)
        yield _opened(environment, stage, region, webhooks=webhooks, broker=broker)


@contextmanager
def _broker(url: str) -> Iterator[RabbitBroker | None]:
    if not url:
        yield None
        return
    from shared.errors import QueueUnavailableError
    from shared.queues.rabbitmq import AmqpSettings, RabbitBroker

    try:
        with RabbitBroker(AmqpSettings(url=url, name="laneway command")) as broker:
            yield broker
    except QueueUnavailableError as error:
        raise CommandError(f"the broker of the jobs cannot be asked: {error}") from error
    except ValueError as error:
        raise CommandError(f"that is no address of a RabbitMQ: {error}") from error


def _webhooks_queue(client: Any, stage: str) -> str:
    """URL of the queue of webhooks, as their function was told; empty in a stage without webhooks."""
    try:
        told = client.get_function_configuration(FunctionName=f"laneway-{stage}-webhooks")
    except client.exceptions.ResourceNotFoundException:
        return ""
    return str(told.get("Environment", {}).get("Variables", {}).get("WEBHOOKS_QUEUE", ""))


def _opened(
    environment: dict[str, str],
    stage: str,
    region: str | None,
    *,
    webhooks: str,
    broker: RabbitBroker | None,
) -> StageJobs:
    from shared.jobs.clock import system_clock
    from shared.jobs.retry import Retries
    from shared.jobs.rules import JobRules
    from shared.queues.opened import is_url, open_queues
    from shared.results.dynamodb import DynamoJobStore
    from shared.results.s3 import S3PayloadStore
    from shared.settings.jobs import IngressSettings

    settings = IngressSettings.from_env(environment)
    if not settings.jobs_table:
        raise CommandError(f"stage {stage} keeps no jobs: deploy it with queues")
    sqs = aws_client("sqs", stage, region)
    store = DynamoJobStore(
        aws_client("dynamodb", stage, region), table=settings.jobs_table, clock=system_clock
    )
    queues = open_queues(
        settings, sqs=sqs, connect_lambda=lambda: aws_client("lambda", stage, region)
    )
    every = list(_every_queue(settings, webhooks))
    return StageJobs(
        tenant="default",
        store=store,
        settings=settings,
        retries=Retries(
            store=store,
            payloads=S3PayloadStore(aws_client("s3", stage, region), bucket=settings.bucket),
            queues=queues,
            rules=JobRules.of(settings),
            clock=system_clock,
        ),
        dead_letters=tuple(
            _dead_letters(sqs, pool=pool, kind=kind, url=place)
            if is_url(place)
            else _in_rabbitmq(broker, pool=pool, kind=kind, name=place)
            for pool, kind, place in every
            if broker is not None or is_url(place)
        ),
        beyond=()
        if broker is not None
        else tuple(f"{pool}/{kind}" for pool, kind, place in every if not is_url(place)),
    )


def _every_queue(settings: IngressSettings, webhooks: str) -> Iterator[tuple[str, str, str]]:
    """Pool, kind and place of each queue that has dead letters; those of the whole stage come last."""
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


def _in_rabbitmq(broker: Any, *, pool: str, kind: str, name: str) -> DeadLetters:
    return DeadLetters(
        pool=pool,
        kind=kind,
        name=f"{name}-dead",
        queue=broker.dead_letters(name, prefetch=LETTERS_HELD, visibility_s=HELD_S),
        source=broker.queue(name),
    )
