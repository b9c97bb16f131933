"""A worker that ends at any AWS call it makes: redelivery and sweeper bring every job to one end.

Every call of a delivery is enumerated, before it and after it. Queues are in memory, so that time is
the test's; rows and payloads are on moto.
"""

from __future__ import annotations

import json
from uuid import uuid4

import boto3
import pytest
from moto import mock_aws

from shared.aws import make_client
from shared.results.s3 import S3PayloadStore
from tests.fixtures.aws_calls import AwsCalls, Crash, crash_points
from tests.fixtures.job_desk import Desk, tensor_body
from tests.fixtures.job_rows import ManualClock, dynamo_store

SMALL = tensor_body([[1.0, 2.0]])
LARGE = tensor_body([[float(n), 0.1234567] for n in range(2000)])
CALLS = 14
"""Of the four jobs below, in one delivery: what the enumeration must reach."""


@pytest.fixture(scope="module")
def aws():
    with mock_aws():
        session = boto3.Session(region_name="us-east-1")
        yield {name: make_client(name, session=session) for name in ("dynamodb", "s3")}


class Case:
    """Four jobs on a queue: small, large, dropped by a user, and one with a webhook."""

    def __init__(self, models, aws, store, clock):
        bucket = f"jobs-{uuid4().hex[:12]}"
        aws["s3"].create_bucket(Bucket=bucket)
        self.desk = Desk(
            models, store=store, payloads=S3PayloadStore(aws["s3"], bucket=bucket), clock=clock
        )
        self.bodies = {
            self.desk.submit(SMALL, job_id="small"): SMALL,
            self.desk.submit(LARGE, job_id="large"): LARGE,
            self.desk.submit(SMALL, job_id="told", webhook="https://example.org/hook"): SMALL,
        }
        self.desk.drop(
            {"schema_version": 1, "id": "dropped", "model": "scale", "input": json.loads(LARGE)}
        )

    def deliver(self):
        self.desk.start().drain()

    def recover(self):
        """What happens to a stage whose worker died: time passes, messages come again, it is swept."""
        for _ in range(4):
            self.desk.clock.advance(400)
            self.deliver()
            self.desk.sweeper().sweep()
        self.desk.clock.advance(400)
        self.deliver()

    def check(self):
        desk = self.desk
        dropped = desk.row("dropped").key
        assert desk.check_settled([*self.bodies, dropped]) == {"succeeded": 4}
        for key, body in {**self.bodies, dropped: LARGE}.items():
            assert desk.result(key) == desk.realtime(body)
        events = desk.events.receive(limit=10, wait_s=0)
        told = [json.loads(message.body)["event"]["id"] for message in events]
        assert set(told) == {"told"}
        assert desk.row("told").webhook_unsent is False


@pytest.fixture
def case(small_models, aws):
    clock = ManualClock()
    with dynamo_store(aws["dynamodb"], clock) as store:
        yield Case(small_models, aws, store, clock)


def test_without_a_crash_all_four_succeed(case, aws):
    calls = AwsCalls()
    calls.watch(*aws.values())
    case.deliver()
    made = list(calls.made)
    case.check()
    assert len(made) == CALLS, made


@pytest.mark.parametrize(("when", "nth"), list(crash_points(CALLS)))
def test_a_crash_at_a_call_loses_nothing_and_ends_nothing_twice(case, aws, when, nth):
    calls = AwsCalls()
    calls.watch(*aws.values())
    calls.crash(when, nth)
    with pytest.raises(Crash):
        case.deliver()
    calls.forget()

    case.desk.check(case.bodies)
    case.recover()

    case.check()
    assert all(case.desk.row(key).attempt <= 2 for key in case.bodies)
