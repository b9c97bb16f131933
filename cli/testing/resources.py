"""The AWS resources of a service in this process, made in moto: keys, jobs, payloads, queues.

Each service makes its own: several may run at once, and moto has one account for all.
"""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, cast

import boto3
from botocore.config import Config

from cli.testing.lambdas import REGION
from shared.keys_dynamodb import DynamoKeyStore
from shared.limiting.counters_dynamodb import DynamoCounters
from shared.limiting.gate import Gate
from shared.limiting.rows import Rows
from shared.limiting.tenants import DynamoTenantStore
from shared.limiting.tenants import table_definition as tenants_definition
from shared.limiting.usage_table import table_definition as usage_definition
from shared.results.batches_table import table_definition as batches_definition
from shared.results.table import table_definition
from shared.routing.lane import GPU, queues_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

CHUNKS: Final = "chunks"
VISIBILITY_S: Final = 60
MAX_RECEIVES: Final = 20
_PRESIGNING: Final = Config(signature_version="s3v4", s3={"addressing_style": "path"})
_ONE_AT_A_TIME: Final = threading.RLock()


@dataclass(frozen=True)
class Resources:
    """What a deployed stage has beside its functions."""

    dynamodb: DynamoDBClient = field(repr=False)
    s3: S3Client = field(repr=False)
    sqs: SQSClient = field(repr=False)
    keys: DynamoKeyStore = field(repr=False)
    tenants: DynamoTenantStore = field(repr=False)
    usage_table: str
    jobs_table: str
    bucket: str
    queues: dict[str, dict[str, str]]
    """URLs by pool and queue; `chunks` are those of batches."""
    dead_letters: dict[str, dict[str, str]]
    """URLs of the queues' dead-letter queues."""
    batches_table: str
    split_queue: str
    finish_queue: str
    control_dead_letters: str
    """Of the two queues above."""

    def gate(self) -> Gate:
        """Who refuses calls past their tenants' limits, in one function."""
        return Gate(
            lambda: DynamoCounters(self.dynamodb, table=self.usage_table),
            rows=Rows(lambda: self.tenants.get),
        )


def make_resources(
    stage: str,
    pools: Iterable[str],
    *,
    on_gpu: Container[str] = (),
    s3_endpoint: str | None = None,
) -> Resources:
    """Everything anew, inside `mock_aws()`.

    `on_gpu`: those of the pools that have queues of high priority too. `s3_endpoint`: of `serve_objects`, where presigned addresses must lead somewhere.
    """
    name = f"laneway-{stage}-{uuid.uuid4().hex[:8]}"
    dynamodb = cast("DynamoDBClient", _Serial(boto3.client("dynamodb", region_name=REGION)))
    s3: S3Client = boto3.client(
        "s3", region_name=REGION, endpoint_url=s3_endpoint, config=_PRESIGNING
    )
    sqs: SQSClient = boto3.client("sqs", region_name=REGION)
    dynamodb.create_table(**table_definition(f"{name}-jobs"))
    dynamodb.create_table(**batches_definition(f"{name}-batches"))
    dynamodb.create_table(**tenants_definition(f"{name}-tenants"))
    dynamodb.create_table(**usage_definition(f"{name}-usage"))
    s3.create_bucket(Bucket=name)
    queues: dict[str, dict[str, str]] = {}
    dead_letters: dict[str, dict[str, str]] = {}
    for pool in pools:
        kinds = (*queues_of(GPU if pool in on_gpu else "cpu"), CHUNKS)
        made = {kind: _queue_pair(sqs, f"{name}-{pool}-{kind}") for kind in kinds}
        queues[pool] = {kind: pair[0] for kind, pair in made.items()}
        dead_letters[pool] = {kind: pair[1] for kind, pair in made.items()}
    return Resources(
        dynamodb=dynamodb,
        s3=s3,
        sqs=sqs,
        keys=_make_keys(dynamodb, f"{name}-keys"),
        tenants=DynamoTenantStore(dynamodb, table=f"{name}-tenants"),
        usage_table=f"{name}-usage",
        jobs_table=f"{name}-jobs",
        bucket=name,
        queues=queues,
        dead_letters=dead_letters,
        batches_table=f"{name}-batches",
        split_queue=_queue_pair(sqs, f"{name}-batch-split")[0],
        finish_queue=_queue_pair(sqs, f"{name}-batch-finish")[0],
        control_dead_letters=sqs.create_queue(QueueName=f"{name}-batch-dlq")["QueueUrl"],
    )


def _make_keys(client: DynamoDBClient, table: str) -> DynamoKeyStore:
    client.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "key_hash", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "key_hash", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return DynamoKeyStore(client, table=table)


def _queue_pair(client: SQSClient, name: str) -> tuple[str, str]:
    """URLs of a queue and of its dead-letter queue."""
    dead = client.create_queue(QueueName=f"{name}-dlq")["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]
    redrive = f'{{"deadLetterTargetArn":"{arn["QueueArn"]}","maxReceiveCount":{MAX_RECEIVES}}}'
    attributes = {"VisibilityTimeout": str(VISIBILITY_S), "RedrivePolicy": redrive}
    queue = client.create_queue(QueueName=name, Attributes=attributes)  # type: ignore[arg-type]  # the stubs know the names of attributes only as literals
    return queue["QueueUrl"], dead


class _Serial:
    """A client whose calls happen one at a time.

    DynamoDB checks a condition and writes as one step; moto does not when threads call it at once.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not callable(found):
            return found

        @wraps(found)
        def one_at_a_time(*arguments: Any, **named: Any) -> Any:
            with _ONE_AT_A_TIME:
                return found(*arguments, **named)

        return one_at_a_time
