"""The budget of AWS calls: what a job costs a worker, counted on moto."""

from __future__ import annotations

from collections import Counter
from uuid import uuid4

import boto3
import pytest
from moto import mock_aws

from shared.aws import make_client
from shared.jobs.messages import reference
from shared.results.s3 import S3PayloadStore
from tests.fixtures.aws_calls import AwsCalls
from tests.fixtures.job_desk import Desk, tensor_body
from tests.fixtures.job_rows import ManualClock, dynamo_store

SMALL = tensor_body([[1.0, 2.0]])
LARGE = tensor_body([[float(n), 0.1234567] for n in range(2000)])


@pytest.fixture
def counted(small_models):
    """A desk on moto, and the calls of its stores from then on."""
    session = boto3.Session(region_name="us-east-1")
    with mock_aws():
        clients = {name: make_client(name, session=session) for name in ("dynamodb", "s3")}
        bucket = f"jobs-{uuid4().hex[:12]}"
        clients["s3"].create_bucket(Bucket=bucket)
        clock = ManualClock()
        payloads = S3PayloadStore(clients["s3"], bucket=bucket)
        with dynamo_store(clients["dynamodb"], clock) as store:
            calls = AwsCalls()
            desk = Desk(small_models, store=store, payloads=payloads, clock=clock, threads=4)
            calls.watch(*clients.values())
            yield desk, calls


def delivered(desk, calls):
    """Calls of one delivery of what is on the queue."""
    calls.forget()
    desk.start().drain()
    return Counter(calls.made)


def test_a_small_job_costs_two_calls_claim_and_publish(counted):
    desk, calls = counted
    keys = [desk.submit(SMALL) for _ in range(10)]

    assert delivered(desk, calls) == {"dynamodb.UpdateItem": 2 * 10}
    assert desk.check_settled(keys) == {"succeeded": 10}


def test_a_job_with_large_input_and_result_costs_a_read_and_a_write_of_s3_more(counted):
    desk, calls = counted
    keys = [desk.submit(LARGE) for _ in range(3)]

    made = delivered(desk, calls)

    assert made == {"dynamodb.UpdateItem": 6, "s3.GetObject": 3, "s3.PutObject": 3}
    assert desk.check_settled(keys) == {"succeeded": 3}


def test_a_dropped_small_job_costs_two_calls_as_well(counted):
    desk, calls = counted
    message = '{"schema_version":1,"id":"mine","model":"scale","input":%s}'
    desk.drop(message % SMALL.decode())

    assert delivered(desk, calls) == {"dynamodb.PutItem": 1, "dynamodb.UpdateItem": 1}
    assert desk.row("mine").status == "succeeded"


def test_a_duplicate_of_a_finished_job_costs_one_call(counted):
    desk, calls = counted
    key = desk.submit(SMALL)
    desk.start().drain()
    desk.drop(reference(key))

    assert delivered(desk, calls) == {"dynamodb.UpdateItem": 1}
