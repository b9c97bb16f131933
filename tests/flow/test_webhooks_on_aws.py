"""The webhooks' function as it is deployed, from its entry point, on SQS, DynamoDB and SSM (moto)."""

from __future__ import annotations

import importlib
import sys
import time
import uuid

import boto3
import pytest
from moto import mock_aws
from standardwebhooks import Webhook

from cli.testing.event_source import EventSource
from cli.testing.lambdas import LocalFunction
from shared.aws import make_client
from shared.errors import StoreUnavailableError
from shared.jobs.messages import event
from shared.jobs.webhook_secrets import SsmSecretStore, create_secret
from shared.queues.sqs import SqsQueue
from shared.results.dynamodb import DynamoJobStore
from shared.results.table import table_definition
from shared.settings import SettingError
from shared.settings.jobs import WebhooksSettings
from tests.fixtures.hook_desk import TENANT, end_job
from tests.fixtures.receiver import receiver, reply

MODULE = "functions.webhooks.handler"
REGION = "us-east-1"


@pytest.fixture
def hooks(tmp_path):
    with receiver(tmp_path) as running:
        yield running


@pytest.fixture
def account(monkeypatch):
    """An AWS account without anything in it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        yield boto3.Session(region_name=REGION)


def settings(account, hooks, stage="local"):
    sqs = make_client("sqs", session=account)
    # Another file's service may hold moto open in this process, and then its account is shared.
    own = uuid.uuid4().hex[:8]
    urls = [sqs.create_queue(QueueName=f"{name}-{own}")["QueueUrl"] for name in ("hooks", "dlq")]
    make_client("dynamodb", session=account).create_table(**table_definition(f"hook-jobs-{own}"))
    return WebhooksSettings(
        stage=stage,
        jobs_table=f"hook-jobs-{own}",
        webhooks_queue=urls[0],
        webhooks_dead_letters=urls[1],
        public_url="https://api.example.com",
        webhook_loopback=f"127.0.0.1:{hooks.port}",
        webhook_ca_file=hooks.ca_file,
    )


def start(given, monkeypatch):
    """The handler of a fresh environment."""
    for name, value in given.to_env().items():
        monkeypatch.setenv(name, value)
    sys.modules.pop(MODULE, None)
    try:
        return importlib.import_module(MODULE).handler
    finally:
        sys.modules.pop(MODULE, None)


def test_an_ended_job_is_told_from_the_entry_point(account, hooks, monkeypatch):
    given = settings(account, hooks)
    queue = SqsQueue(
        make_client("sqs", session=account),
        url=given.webhooks_queue,
        dead_letter_url=given.webhooks_dead_letters,
    )
    store = DynamoJobStore(
        make_client("dynamodb", session=account), table=given.jobs_table, clock=time.time
    )
    signing = create_secret(
        SsmSecretStore(make_client("ssm", session=account), stage="local"), TENANT
    )
    hooks.answers = [reply(500)]
    row = end_job(store, time.time(), url=f"https://127.0.0.1:{hooks.port}/hook")
    queue.send(event(row.key), tenant=TENANT)
    bad = queue.send("{}", tenant=TENANT)
    source = EventSource(queue, LocalFunction("f", start(given, monkeypatch)), name="hooks")

    source.drain()
    deadline = time.monotonic() + 20
    while queue.depth():
        assert time.monotonic() < deadline, "the event did not come back after its wait"
        source.drain()
        time.sleep(0.1)

    first, second = hooks.received
    told = Webhook(signing.value).verify(second.body, second.headers)
    assert told["data"]["urls"]["self"] == "https://api.example.com/v2/jobs/job-1"
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert store.get(row.key) == row
    dead = SqsQueue(make_client("sqs", session=account), url=given.webhooks_dead_letters)
    [buried] = dead.receive(limit=10, wait_s=0)
    assert buried.attributes["reason"] == "the message is no event of this service"
    assert bad != buried.message_id


def test_lambda_is_slowed_down_while_the_store_does_not_answer(account, hooks, monkeypatch):
    given = settings(account, hooks)
    handler = start(given, monkeypatch)
    queue = SqsQueue(make_client("sqs", session=account), url=given.webhooks_queue)
    for number in range(3):
        queue.send(
            f'{{"schema_version":1,"event":{{"tenant":"acme","id":"j{number}"}}}}', tenant=""
        )
    make_client("dynamodb", session=account).delete_table(TableName=given.jobs_table)
    source = EventSource(queue, LocalFunction("f", handler), name="hooks")
    poll = source.poll()
    assert isinstance(poll.error, StoreUnavailableError)
    assert poll.failed == poll.delivered
    assert queue.depth() == 3
    assert hooks.connections == 0


def test_a_deployed_stage_cannot_open_its_own_host(account, hooks, monkeypatch):
    with pytest.raises(SettingError, match="local alone"):
        start(settings(account, hooks, stage="prod"), monkeypatch)
