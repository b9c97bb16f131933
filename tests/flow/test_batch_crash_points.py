"""A batch on DynamoDB and S3 (moto) is stopped before and after every AWS call that is made for it.

Whatever dies, somebody else goes on after the lease: the batch ends, every line is answered once.
"""

from __future__ import annotations

import boto3
import pytest
from moto import mock_aws

from shared.aws import make_client
from shared.jobs.batches.files import OUTPUT, file_key
from shared.jobs.batches.messages import batch_message
from shared.limits import MIB
from shared.results.batches import Part, Place
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


SIZES = (6 * MIB, MIB, 12 * MIB, 5 * MIB, 4321)
"""Outputs of chunks: copied by S3; read with a piece of the next, whose rest is copied; read, since S3
copies no range of 5 MiB; a short end."""


def contents():
    return [(b"%d-" % index * size)[: size - 1] + b"\n" for index, size in enumerate(SIZES)]


def finalized(desk):
    """A batch at its finisher's door; the parts of its chunks are there already."""
    store = desk.batches
    running_batch(store, chunks=len(SIZES))
    for index, size in enumerate(SIZES):
        chunk = store.claim_chunk(KEY, index, owner="w", until=START + 60, now=START).chunk
        part = Part(
            prefix=chunk.prefix, output_bytes=size, errors_bytes=0, refused_bytes=0,
            succeeded=2, failed=0, blank=0,
        )  # fmt: skip
        assert store.publish(KEY, chunk, part, upto=Place(chunk.end, 2 * index + 3), now=START)
    assert store.finalize(KEY, ending="succeeded", now=START)
    desk.finish.send(batch_message(KEY), tenant=KEY.tenant)


def test_a_finisher_that_dies_at_any_call_of_a_long_join_is_replaced(desk, calls, clients):
    for index, data in enumerate(contents()):
        desk.objects.put(file_key(KEY, f"parts/{index:05d}/1/{OUTPUT}"), data, content_type="")
    finalized(desk)
    count = count_calls(calls, desk.step_finish)
    assert calls.made.count("s3.UploadPartCopy") == 2
    assert calls.made.count("s3.UploadPart") == 3

    for nth in range(
        count
    ):  # to die before a call leaves behind what dying after the one before does
        clients[1].delete_object(Bucket=BUCKET, Key=file_key(KEY, OUTPUT))
        with dynamo_batches(clients[0]) as batches:
            again = BatchDesk.over(desk, batches)
            finalized(again)
            calls.forget()
            calls.crash("after", nth)
            with pytest.raises(Crash):
                again.step_finish()
            calls.forget()

            again.settle(KEY)

            ended = again.ended(KEY)
            assert (ended.row.status, ended.counts) == ("succeeded", (10, 10, 0)), nth
            assert ended.data(OUTPUT) == b"".join(contents())
            assert ended.manifest["files"][OUTPUT]["size_bytes"] == sum(SIZES)
            assert calls.made.count("s3.CompleteMultipartUpload") <= 1


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
