"""Puts the ingress function together: its clients of AWS become stores and queues, these its calls."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from functions.api_gateway import serve
from functions.ingress.batches import PRESIGNED_S, BatchCalls
from functions.ingress.jobs import JobCalls
from shared.aws import make_client
from shared.jobs.ask import AcceptedJobs
from shared.jobs.batches.messages import CHUNKS
from shared.jobs.batches.submit import Batches
from shared.jobs.clock import system_clock
from shared.jobs.rules import JobRules
from shared.jobs.submit import Jobs
from shared.queues.invoked import connect_lambda
from shared.queues.opened import open_queues
from shared.queues.sqs import SqsQueue
from shared.queues.waking import connect_wake, wake_on_send
from shared.results.batches_dynamodb import DynamoBatchStore
from shared.results.dynamodb import DynamoJobStore
from shared.results.objects_s3 import S3ObjectStore
from shared.results.s3 import S3PayloadStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

    from functions.ingress.service import IngressService
    from shared.catalog import Catalog
    from shared.jobs.clock import Clock
    from shared.limiting.gate import Gate
    from shared.principal import Signers
    from shared.settings.jobs import IngressSettings
    from shared.telemetry import Telemetry


class Clients(NamedTuple):
    """The AWS services that keep and carry jobs."""

    dynamodb: DynamoDBClient
    s3: S3Client
    sqs: SQSClient


def connect() -> Clients:
    """The clients of a function on Lambda."""
    return Clients(make_client("dynamodb"), make_client("s3"), make_client("sqs"))


def make_jobs(
    settings: IngressSettings,
    *,
    catalog: Catalog,
    connect: Callable[[], Clients],
    clock: Clock = system_clock,
    connect_lambda: Callable[[], LambdaClient] = connect_lambda,
    connect_wake: Callable[[], LambdaClient] = connect_wake,
    gate: Gate | None = None,
) -> JobCalls | None:
    """The calls about jobs; None for a stage that keeps none, which connects to nothing.

    `gate` None: no tenant is limited in its jobs.
    """
    if not settings.jobs_table:
        return None
    clients = connect()
    store = DynamoJobStore(clients.dynamodb, table=settings.jobs_table, clock=clock)
    payloads = S3PayloadStore(clients.s3, bucket=settings.bucket)
    queues = wake_on_send(
        open_queues(settings, sqs=clients.sqs, connect_lambda=connect_lambda),
        wakes=settings.wakes,
        connect=connect_wake,
        clock=clock,
    )
    jobs = Jobs(
        catalog=catalog,
        store=store,
        payloads=payloads,
        queues=queues,
        rules=JobRules.of(settings),
        clock=clock,
        beside=[DynamoBatchStore(clients.dynamodb, table=settings.batches_table)]
        if settings.batches_table
        else (),
    )
    accepted = AcceptedJobs(store=store, payloads=payloads, clock=clock)
    return JobCalls(jobs, accepted, public_url=settings.public_url, gate=gate)


def make_batches(
    settings: IngressSettings,
    *,
    catalog: Catalog,
    connect: Callable[[], Clients],
    clock: Clock = system_clock,
    gate: Gate | None = None,
) -> BatchCalls | None:
    """The calls about batches; None for a stage that keeps none, which connects to nothing.

    `gate` None: no tenant is limited in its batches.
    """
    if not settings.batches_table:
        return None
    clients = connect()
    objects = S3ObjectStore(clients.s3, bucket=settings.bucket)
    batches = Batches(
        catalog=catalog,
        store=DynamoBatchStore(clients.dynamodb, table=settings.batches_table),
        split=SqsQueue(clients.sqs, url=settings.split_queue),
        finish=SqsQueue(clients.sqs, url=settings.finish_queue),
        pools=frozenset(pool for pool, urls in settings.queues.items() if CHUNKS in urls),
        rules=JobRules.of(settings),
        clock=clock,
        beside=[DynamoJobStore(clients.dynamodb, table=settings.jobs_table, clock=clock)],
    )
    return BatchCalls(
        batches,
        bucket=settings.bucket,
        presign=partial(objects.presign_get, expires_s=PRESIGNED_S),
        public_url=settings.public_url,
        gate=gate,
    )


def make_handler(
    service: IngressService,
    *,
    telemetry: Telemetry,
    gate: Gate | None = None,
    signers: Signers | None = None,
) -> Callable[[Mapping[str, Any], Any], dict[str, Any]]:
    """The Lambda handler, for events of the gateway and for those that realtime hands over."""

    def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        return serve(
            event,
            context,
            answer=service.answer,
            telemetry=telemetry,
            gate=gate,
            signers=signers,
        )

    return handler
