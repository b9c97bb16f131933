"""What every queue must do; each implementation runs the same tests on a clock set by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
import pytest
from moto import mock_aws

from shared.aws import make_client
from shared.errors import TooLargeError
from shared.limits import SQS_MESSAGE_BYTES
from shared.queues.memory import MemoryQueue
from shared.queues.protocol import Message
from shared.queues.sqs import SqsQueue
from tests.fixtures.job_rows import ManualClock

if TYPE_CHECKING:
    from shared.queues.protocol import Queue

VISIBILITY_S = 30
MAX_RECEIVES = 3


@dataclass
class Bench:
    queue: Queue
    dead_letters: Queue
    clock: ManualClock

    def receive(self, limit=10):
        return self.queue.receive(limit=limit, wait_s=0)

    def buried(self):
        return self.dead_letters.receive(limit=10, wait_s=0)


@pytest.fixture(scope="module")
def sqs():
    with mock_aws():
        yield make_client("sqs", session=boto3.Session(region_name="us-east-1"))


@pytest.fixture(params=["memory", "sqs"])
def bench(request, monkeypatch):
    clock = ManualClock()
    if request.param == "memory":
        dead_letters = MemoryQueue(clock=clock)
        queue = MemoryQueue(
            clock=clock,
            visibility_s=VISIBILITY_S,
            max_receives=MAX_RECEIVES,
            dead_letters=dead_letters,
        )
        return Bench(queue, dead_letters, clock)
    monkeypatch.setattr("moto.sqs.models.unix_time", clock)
    monkeypatch.setattr("moto.sqs.models.unix_time_millis", lambda: clock() * 1000)
    return _sqs_bench(request.getfixturevalue("sqs"), request.node.name, clock)


def _sqs_bench(client, test_name, clock):
    name = f"contract-{abs(hash(test_name))}"
    dead_url = client.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    dead_arn = client.get_queue_attributes(QueueUrl=dead_url, AttributeNames=["QueueArn"])
    redrive = {
        "deadLetterTargetArn": dead_arn["Attributes"]["QueueArn"],
        "maxReceiveCount": MAX_RECEIVES,
    }
    url = client.create_queue(
        QueueName=name,
        Attributes={
            "VisibilityTimeout": str(VISIBILITY_S),
            "RedrivePolicy": json.dumps(redrive),
        },
    )["QueueUrl"]
    queue = SqsQueue(client, url=url, dead_letter_url=dead_url)
    return Bench(queue, SqsQueue(client, url=dead_url), clock)


def test_a_message_is_received_as_it_was_sent(bench):
    message_id = bench.queue.send(
        '{"x": "\\u2603"}', tenant="acme", attributes={"forwarded": "1", "from": "pool-a"}
    )
    [delivery] = bench.receive()
    assert delivery.body == '{"x": "\\u2603"}'
    assert delivery.attributes == {"forwarded": "1", "from": "pool-a"}
    assert (delivery.message_id, delivery.tenant) == (message_id, "acme")
    assert (delivery.receive_count, delivery.sent_at) == (1, bench.clock.now)


def test_an_empty_queue_gives_nothing(bench):
    assert list(bench.receive()) == []


def test_no_more_than_asked_for_are_received(bench):
    for n in range(5):
        bench.queue.send(f"{n}", tenant="acme")
    assert len(bench.receive(limit=2)) == 2
    assert len(bench.receive(limit=10)) == 3


def test_a_received_message_is_invisible_until_its_visibility_lapses(bench):
    bench.queue.send("{}", tenant="acme")
    [first] = bench.receive()
    bench.clock.advance(VISIBILITY_S - 1)
    assert list(bench.receive()) == []
    bench.clock.advance(2)
    [again] = bench.receive()
    assert (again.message_id, again.receive_count) == (first.message_id, 2)


def test_every_delivery_says_when_the_first_one_was(bench):
    bench.queue.send("x", tenant="t")
    bench.clock.advance(2)
    first_at = bench.clock.now
    [first] = bench.receive()
    bench.clock.advance(VISIBILITY_S + 1)

    [second] = bench.receive()

    assert (first.first_received_at, second.first_received_at) == (first_at, first_at)
    assert second.sent_at == first_at - 2


def test_an_acknowledged_message_never_comes_again(bench):
    bench.queue.send("{}", tenant="acme")
    [delivery] = bench.receive()
    bench.queue.acknowledge(delivery)
    bench.clock.advance(VISIBILITY_S * 10)
    assert list(bench.receive()) == []
    assert bench.queue.depth() == 0


def test_acknowledging_twice_is_no_error(bench):
    bench.queue.send("{}", tenant="acme")
    [delivery] = bench.receive()
    bench.queue.acknowledge(delivery)
    bench.queue.acknowledge(delivery)
    assert bench.queue.depth() == 0


def test_a_message_that_was_handed_back_comes_again_at_once(bench):
    bench.queue.send("{}", tenant="acme")
    [delivery] = bench.receive()
    bench.queue.hand_back(delivery)
    bench.clock.advance(0.001)
    assert [again.message_id for again in bench.receive()] == [delivery.message_id]


def test_a_message_that_was_handed_back_for_later_comes_later(bench):
    bench.queue.send("{}", tenant="acme")
    [delivery] = bench.receive()
    bench.queue.hand_back(delivery, delay_s=100)
    bench.clock.advance(99)
    assert list(bench.receive()) == []
    bench.clock.advance(2)
    assert len(bench.receive()) == 1


def test_an_extended_message_stays_invisible(bench):
    bench.queue.send("{}", tenant="acme")
    [delivery] = bench.receive()
    bench.clock.advance(VISIBILITY_S - 1)
    bench.queue.extend(delivery, visibility_s=VISIBILITY_S)
    bench.clock.advance(VISIBILITY_S - 1)
    assert list(bench.receive()) == []


@pytest.mark.parametrize("late", ["hand_back", "extend", "acknowledge"])
def test_what_is_done_to_a_removed_message_is_no_error(bench, late):
    bench.queue.send("{}", tenant="acme")
    [delivery] = bench.receive()
    bench.queue.acknowledge(delivery)
    extra = {"visibility_s": 5} if late == "extend" else {}
    getattr(bench.queue, late)(delivery, **extra)
    assert list(bench.receive()) == []


def test_a_delayed_message_is_received_when_its_time_has_come(bench):
    bench.queue.send("{}", tenant="acme", delay_s=60)
    assert list(bench.receive()) == []
    bench.clock.advance(61)
    assert len(bench.receive()) == 1


def test_a_message_that_keeps_failing_moves_to_the_dead_letter_queue(bench):
    message_id = bench.queue.send("{}", tenant="acme")
    for _ in range(MAX_RECEIVES):
        assert len(bench.receive()) == 1
        bench.clock.advance(VISIBILITY_S + 1)
    assert list(bench.receive()) == []
    assert [dead.message_id for dead in bench.buried()] == [message_id]


def test_a_buried_message_is_on_the_dead_letter_queue_with_its_reason_and_nowhere_else(bench):
    bench.queue.send("not json", tenant="acme", attributes={"forwarded": "1"})
    [delivery] = bench.receive()
    bench.queue.bury(delivery, reason="the message is not JSON: ☃\n")
    [dead] = bench.buried()
    assert dead.body == "not json"
    assert dead.attributes == {"forwarded": "1", "reason": "the message is not JSON: ??"}
    bench.clock.advance(VISIBILITY_S + 1)
    assert list(bench.receive()) == []


def test_the_largest_message_with_the_most_attributes_can_be_buried(bench):
    attributes = {f"a{n}": "v" for n in range(10)}
    room = SQS_MESSAGE_BYTES - sum(len(name) + len("String") + 1 for name in attributes)
    bench.queue.send("x" * room, tenant="acme", attributes=attributes)
    [delivery] = bench.receive()
    bench.queue.bury(delivery, reason="r" * 10_000)
    [dead] = bench.buried()
    assert dead.attributes["reason"] == "r" * 256
    assert set(dead.body) == {"x"}


def test_a_message_past_the_limit_is_refused_before_it_is_sent(bench):
    with pytest.raises(TooLargeError, match="input_uri"):
        bench.queue.send("x" * SQS_MESSAGE_BYTES, tenant="acme", attributes={"a": "b"})
    assert bench.queue.depth() == 0


def test_a_message_at_the_limit_is_sent(bench):
    bench.queue.send("x" * SQS_MESSAGE_BYTES, tenant="acme")
    assert len(bench.receive()) == 1


@pytest.mark.parametrize("body", ["", "\x00", "☃", "\ud800", "\ufffe", "\x7f"])
def test_characters_that_a_broker_may_refuse_are_not_sent(bench, body):
    with pytest.raises(ValueError, match="ASCII"):
        bench.queue.send(body, tenant="acme")
    assert bench.queue.depth() == 0


def test_many_messages_are_sent_whatever_their_number_and_size(bench):
    bodies = [str(n) for n in range(23)] + ["y" * (SQS_MESSAGE_BYTES - 10)] * 2
    confirmed = bench.queue.send_many([Message(body=body, tenant="acme") for body in bodies])
    assert len(set(confirmed)) == 25
    assert None not in confirmed
    received = [delivery for _ in range(25) for delivery in bench.receive()]
    assert sorted(delivery.body for delivery in received) == sorted(bodies)


def test_one_message_that_cannot_be_sent_keeps_all_of_them(bench):
    with pytest.raises(ValueError, match="ASCII"):
        bench.queue.send_many([Message(body=body, tenant="acme") for body in ("{}", "☃")])
    assert bench.queue.depth() == 0


def test_depth_counts_what_is_visible_delayed_and_in_flight(bench):
    bench.queue.send("1", tenant="acme")
    bench.receive()
    bench.queue.send("2", tenant="acme")
    bench.queue.send("3", tenant="acme", delay_s=60)
    assert bench.queue.depth() == 3


def test_a_queue_without_a_dead_letter_queue_buries_nothing(bench):
    bench.dead_letters.send("{}", tenant="acme")
    [delivery] = bench.buried()
    with pytest.raises(ValueError, match="no dead-letter queue"):
        bench.dead_letters.bury(delivery, reason="x")
    assert bench.dead_letters.depth() == 1
