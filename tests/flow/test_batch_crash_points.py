"""A batch on DynamoDB and S3 (moto) is stopped before and after every AWS call that is made for it.

Whatever dies, somebody else goes on after the lease: the batch ends, every line is answered once.
"""

from __future__ import annotations

import boto3
import pytest
from moto import mock_aws

from shared.aws import make_client
from shared.results.batches import Place
from shared.results.batches_dynamodb import DynamoBatchStore
from shared.results.batches_table import table_definition
from shared.results.objects_s3 import S3ObjectStore
from tests.fixtures.aws_calls import AwsCalls, Crash, crash_points
from tests.fixtures.batch_desk import BUCKET, BatchDesk, check_invariants, line
from tests.fixtures.batch_rows import KEY, dynamo_batches, part_of, running_batch
from tests.fixtures.job_rows import START

LINES = 60
DATA = b"".join((b"{oops" if number % 20 == 7 else line(number)) + b"\n" for number in range(LINES))


@pytest.fixture(scope="module")
def clients():
    with mock_aws():
        session = boto3.Session(region_name="us-east-1")
        dynamodb, s3 = make_client("dynamodb", session=session), make_client("s3", session=session)
        s3.create_bucket(Bucket=BUCKET)
        yield dynamodb, s3


@pytest.fixture(scope="module")
def calls(clients):
    calls = AwsCalls()
    calls.watch(*clients)
    return calls


@pytest.fixture
def desk(clients, calls, small_models):
    dynamodb, s3 = clients
    with dynamo_batches(dynamodb) as batches:
        yield BatchDesk(
            small_models,
            batches=batches,
            objects=S3ObjectStore(s3, bucket=BUCKET),
            chunk_bytes=3500,
        )
        calls.forget()


def count_calls(calls, step) -> int:
    """How many AWS calls a step makes that nothing stops."""
    calls.forget()
    step()
    return len(calls.made)


STEPS = {
    "split": (lambda _: None, BatchDesk.step_split),
    "chunk": (BatchDesk.step_split, BatchDesk.step_chunk),
    "finish": (
        BatchDesk.run_chunks,
        BatchDesk.step_finish,
    ),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_batch_survives_a_crash_at_every_call_of_a_step(name, desk, calls, clients):
    before, step = STEPS[name]
    key = desk.submit(DATA)
    before(desk)
    points = list(crash_points(count_calls(calls, lambda: step(desk))))
    desk.settle(key)
    check_invariants(desk, key, lines=LINES)
    assert len(points) >= 8

    for when, nth in points:
        with dynamo_batches(clients[0]) as batches:
            again = BatchDesk.over(desk, batches)
            key = again.submit(DATA)
            before(again)
            calls.forget()
            calls.crash(when, nth)
            with pytest.raises(Crash):
                step(again)
            calls.forget()

            again.settle(key)

            check_invariants(again, key, lines=LINES)
            assert again.accept.get(key).failed == 3


def test_calls_of_a_chunk_are_few(desk, calls):
    desk.submit(DATA)
    desk.step_split()

    made = count_calls(calls, desk.step_chunk)

    assert made <= 8, calls.made


def test_two_workers_that_publish_at_once_are_both_counted(clients):
    """The counts are one row that every worker writes to."""
    dynamodb, _ = clients
    name = "batches-conflicts"
    dynamodb.create_table(**table_definition(name))
    tries = []

    class Conflicting:
        def __getattr__(self, method):
            return getattr(dynamodb, method)

        def transact_write_items(self, **given):
            tries.append(given)
            if len(tries) < 3:
                raise dynamodb.exceptions.TransactionCanceledException(
                    {
                        "Error": {"Code": "TransactionCanceledException", "Message": ""},
                        "CancellationReasons": [{"Code": "None"}, {"Code": "TransactionConflict"}],
                    },
                    "TransactWriteItems",
                )
            return dynamodb.transact_write_items(**given)

    plain = DynamoBatchStore(dynamodb, table=name)
    running_batch(plain, chunks=1)
    chunk = plain.claim_chunk(KEY, 0, owner="a", until=START + 60, now=START).chunk

    published = DynamoBatchStore(Conflicting(), table=name).publish(
        KEY, chunk, part_of(), upto=Place(10, 3), now=START
    )

    assert published
    assert len(tries) == 3
    assert plain.get(KEY).succeeded == 2
