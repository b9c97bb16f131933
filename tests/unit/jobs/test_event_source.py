"""The event source behaves as Lambda's does: batches, partial failures, exceptions, redrive."""

from __future__ import annotations

import pytest

from cli.testing.event_source import EventSource
from cli.testing.lambdas import LocalFunction
from shared.queues.memory import MemoryQueue
from shared.queues.sqs import from_record
from tests.fixtures.job_rows import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def dead(clock):
    return MemoryQueue(clock=clock)


@pytest.fixture
def queue(clock, dead):
    return MemoryQueue(clock=clock, visibility_s=30, max_receives=2, dead_letters=dead)


def source(queue, answer, **options):
    """Feeds a function that gives, or raises, what `answer` makes of the event's records."""
    seen = []

    def handler(event, _):
        seen.append(event["Records"])
        return answer(event["Records"])

    made = EventSource(queue, LocalFunction("f", handler), name="q", **options)
    made.seen = seen
    return made


def failures(*names):
    return {"batchItemFailures": [{"itemIdentifier": name} for name in names]}


def test_a_record_has_what_lambda_s_has(queue):
    sent = queue.send("hello", tenant="acme", attributes={"forwarded": "1"})
    fed = source(queue, lambda _: None)

    fed.drain()

    [[record]] = fed.seen
    delivery = from_record(record)
    assert (delivery.body, delivery.message_id) == ("hello", sent)
    assert (delivery.tenant, delivery.receive_count) == ("acme", 1)
    assert delivery.attributes == {"forwarded": "1"}
    assert record["eventSourceARN"].endswith(":q")
    assert record["md5OfBody"] == "5d41402abc4b2a76b9719d911017c592"


def test_a_record_says_when_its_message_was_sent_and_when_it_was_received_first(queue, clock):
    sent_at = clock()
    name = queue.send("x", tenant="t")
    clock.advance(2.5)
    fed = source(queue, lambda _: failures(name) if len(fed.seen) == 1 else None)

    fed.drain()
    clock.advance(30)
    fed.drain()

    received = str(round((sent_at + 2.5) * 1000))
    for [record] in fed.seen:
        assert record["attributes"]["SentTimestamp"] == str(round(sent_at * 1000))
        assert record["attributes"]["ApproximateFirstReceiveTimestamp"] == received
    assert [from_record(record).first_received_at for [record] in fed.seen] == [
        sent_at + 2.5,
        sent_at + 2.5,
    ]


@pytest.mark.parametrize("answer", [None, {}, {"batchItemFailures": []}])
def test_an_answer_without_failures_removes_the_batch(queue, answer):
    for _ in range(3):
        queue.send("x", tenant="t")

    source(queue, lambda _: answer).drain()

    assert queue.depth() == 0


def test_a_batch_has_at_most_its_size_and_may_have_more_than_ten(queue):
    for _ in range(35):
        queue.send("x", tenant="t")
    fed = source(queue, lambda _: None, batch_size=25)

    fed.drain()

    assert [len(records) for records in fed.seen] == [25, 10]


def test_what_is_reported_as_failed_comes_again_after_the_visibility(queue, clock):
    names = [queue.send(str(n), tenant="t") for n in range(3)]
    fed = source(queue, lambda records: failures(names[1]) if len(records) > 1 else None)

    fed.drain()
    assert queue.depth() == 1
    assert fed.drain() == []
    clock.advance(30)
    fed.drain()

    assert [[record["body"] for record in batch] for batch in fed.seen] == [["0", "1", "2"], ["1"]]
    assert queue.depth() == 0


@pytest.mark.parametrize(
    "answer",
    [failures("somebody else's"), {"batchItemFailures": [{"id": "x"}]}, {"batchItemFailures": [1]}],
)
def test_an_answer_that_cannot_be_read_fails_the_whole_batch(queue, answer):
    for _ in range(2):
        queue.send("x", tenant="t")

    [poll] = source(queue, lambda _: answer).drain()

    assert len(poll.failed) == 2
    assert queue.depth() == 2


def test_a_function_that_raises_gets_the_batch_again_until_it_is_dead_lettered(queue, clock, dead):
    queue.send("poison", tenant="t")

    def fail(_):
        raise MemoryError

    fed = source(queue, fail)
    for _ in range(4):
        fed.drain()
        clock.advance(30)

    assert [type(poll.error) for poll in fed.polls] == [MemoryError, MemoryError]
    assert [record["attributes"]["ApproximateReceiveCount"] for [record] in fed.seen] == ["1", "2"]
    assert (queue.depth(), dead.depth()) == (0, 1)
