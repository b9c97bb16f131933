"""What every queue must do; each implementation runs the same tests.

Memory and SQS run on a clock set by hand. RabbitMQ is a real broker: the visibility, which the queue
itself keeps, is on that clock too, but delays are the broker's and are sat out, so they are short.
"""

from __future__ import annotations

import json
import time
import uuid
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
from shared.queues.rabbitmq import AmqpSettings, RabbitBroker
from shared.queues.sqs import SqsQueue
from tests.fixtures.job_rows import ManualClock

if TYPE_CHECKING:
    from shared.queues.protocol import Queue

VISIBILITY_S = 30
MAX_RECEIVES = 3
ARRIVAL_S = 10
"""How long a message may take that must come."""
QUIET_S = 0.3
"""How long nothing comes where nothing must."""


@dataclass
class Bench:
    queue: Queue
    dead_letters: Queue
    clock: ManualClock
    delay_s: int = 60
    """Long enough to be seen."""
    dates_first_delivery: bool = True

    def receive(self, count=1, limit=10):
        """The messages that must come."""
        return self._received(self.queue, count, limit)

    def buried(self, count=1):
        return self._received(self.dead_letters, count, 10)

    def receive_nothing(self):
        assert list(self.queue.receive(limit=10, wait_s=0)) == []

    def pass_time(self, seconds):
        self.clock.advance(seconds)

    def holds(self, count):
        """Whether the queue holds so many messages in all."""
        return self.queue.depth() == count

    def _received(self, queue, count, limit):  # noqa: ARG002  a broker that pushes is waited for
        return list(queue.receive(limit=limit, wait_s=0))


@dataclass
class PushedBench(Bench):
    """A bench of a broker that pushes: what must come is waited for."""

    delay_s: int = 2
    dates_first_delivery: bool = False

    def receive_nothing(self):
        assert list(self.queue.receive(limit=10, wait_s=QUIET_S)) == []

    def holds(self, count):
        return _becomes_true(lambda: self.queue.depth() == count)

    def _received(self, queue, count, limit):
        deadline = time.monotonic() + ARRIVAL_S
        received = []
        while len(received) < count and time.monotonic() < deadline:
            received += queue.receive(limit=limit - len(received), wait_s=0.5)
        return received


def _becomes_true(condition):
    deadline = time.monotonic() + ARRIVAL_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture(scope="module")
def sqs():
    with mock_aws():
        yield make_client("sqs", session=boto3.Session(region_name="us-east-1"))


@pytest.fixture(scope="module")
def rabbit(rabbitmq):
    with RabbitBroker(AmqpSettings(url=rabbitmq.url)) as broker:
        yield broker


@pytest.fixture(params=["memory", "sqs", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def bench(request, monkeypatch):
    clock = ManualClock()
    if request.param == "rabbitmq":
        return _rabbit_bench(request.getfixturevalue("rabbit"), clock)
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


def _rabbit_bench(broker, clock):
    name = f"contract-{uuid.uuid4().hex}"
    broker.declare([name], max_receives=MAX_RECEIVES)
    queue = broker.queue(
        name, prefetch=50, visibility_s=VISIBILITY_S, max_receives=MAX_RECEIVES, clock=clock
    )
    dead_letters = broker.dead_letters(name, clock=clock)
    return PushedBench(queue, dead_letters, clock)


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
    bench.receive_nothing()


def test_no_more_than_asked_for_are_received(bench):
    for n in range(5):
        bench.queue.send(f"{n}", tenant="acme")
    assert len(bench.receive(2, limit=2)) == 2
    assert len(bench.receive(3, limit=10)) == 3


def test_a_received_message_is_invisible_until_its_visibility_lapses(bench):
    bench.queue.send("{}", tenant="acme")
    [first] = bench.receive()
    bench.pass_time(VISIBILITY_S - 1)
    bench.receive_nothing()
    bench.pass_time(2)
    [again] = bench.receive()
    assert (again.message_id, again.receive_count) == (first.message_id, 2)


def test_a_message_keeps_its_tenant_however_it_is_sent_and_when_it_is_buried(bench):
    bench.queue.send("1", tenant="quiet")
    bench.queue.send_many([Message(body=str(n), tenant="noisy") for n in range(2, 6)])
    received = bench.receive(5)
    assert sorted(delivery.tenant for delivery in received) == ["noisy"] * 4 + ["quiet"]
    for delivery in received:
        bench.queue.bury(delivery, reason="r")
    assert sorted(delivery.tenant for delivery in bench.buried(5)) == ["noisy"] * 4 + ["quiet"]


def test_every_delivery_says_when_the_first_one_was(bench):
    bench.queue.send("x", tenant="t")
    bench.pass_time(2)
    first_at = bench.clock.now
    [first] = bench.receive()
    bench.pass_time(VISIBILITY_S + 1)

    [second] = bench.receive()

    told = (first.first_received_at, second.first_received_at)
    assert told == ((first_at, first_at) if bench.dates_first_delivery else (None, None))
    assert second.sent_at == first_at - 2


def test_an_acknowledged_message_never_comes_again(bench):
    bench.queue.send("{}", tenant="acme")
    [delivery] = bench.receive()
    bench.queue.acknowledge(delivery)
    bench.pass_time(VISIBILITY_S * 10)
    bench.receive_nothing()
    assert bench.holds(0)


def test_acknowledging_twice_is_no_error(bench):
    bench.queue.send("{}", tenant="acme")
    [delivery] = bench.receive()
    bench.queue.acknowledge(delivery)
    bench.queue.acknowledge(delivery)
    assert bench.holds(0)


def test_many_messages_are_acknowledged_together_and_only_those(bench):
    bench.queue.send_many([Message(body=str(n), tenant="acme") for n in range(13)])
    received = bench.receive(10) + bench.receive(3)
    kept = received.pop(1)
    bench.queue.acknowledge_many(received)
    bench.queue.acknowledge_many(received[:2])
    assert bench.holds(1)
    bench.pass_time(VISIBILITY_S + 1)
    assert [delivery.body for delivery in bench.receive()] == [kept.body]


def test_a_message_that_was_handed_back_comes_again_at_once(bench):
    bench.queue.send("{}", tenant="acme")
    [delivery] = bench.receive()
    bench.queue.hand_back(delivery)
    bench.pass_time(0.001)
    assert [again.message_id for again in bench.receive()] == [delivery.message_id]


def test_a_message_that_was_handed_back_for_later_comes_later(bench):
    bench.queue.send("{}", tenant="acme")
    [delivery] = bench.receive()
    bench.queue.hand_back(delivery, delay_s=bench.delay_s)
    bench.pass_time(bench.delay_s - 1)
    bench.receive_nothing()
    bench.pass_time(2)
    assert len(bench.receive()) == 1


def test_many_messages_are_handed_back_together_each_for_its_own_time(bench):
    bench.queue.send_many([Message(body=str(n), tenant="acme") for n in range(14)])
    received = bench.receive(10) + bench.receive(4)
    kept, gone, *others = received
    bench.queue.acknowledge(gone)
    delays_s = [0 if n % 2 else bench.delay_s for n in range(len(others))]

    bench.queue.hand_back_many([gone, *others], delays_s=[0, *delays_s])

    bench.pass_time(0.001)
    at_once = bench.receive(6)
    assert {delivery.body for delivery in at_once} == {item.body for item in others[1::2]}
    bench.receive_nothing()
    bench.queue.acknowledge_many([kept, *at_once])
    bench.pass_time(bench.delay_s)
    again = bench.receive(6)
    assert {delivery.body for delivery in again} == {item.body for item in others[::2]}
    assert {delivery.receive_count for delivery in again} == {2}
    assert bench.holds(6)


def test_handing_back_nothing_asks_nobody(bench):
    bench.queue.hand_back_many([], delays_s=[])
    assert bench.holds(0)


def test_an_extended_message_stays_invisible(bench):
    bench.queue.send("{}", tenant="acme")
    [delivery] = bench.receive()
    bench.pass_time(VISIBILITY_S - 1)
    bench.queue.extend(delivery, visibility_s=VISIBILITY_S)
    bench.pass_time(VISIBILITY_S - 1)
    bench.receive_nothing()


@pytest.mark.parametrize("late", ["hand_back", "extend", "acknowledge"])
def test_what_is_done_to_a_removed_message_is_no_error(bench, late):
    bench.queue.send("{}", tenant="acme")
    [delivery] = bench.receive()
    bench.queue.acknowledge(delivery)
    extra = {"visibility_s": 5} if late == "extend" else {}
    getattr(bench.queue, late)(delivery, **extra)
    bench.receive_nothing()


def test_a_delayed_message_is_received_when_its_time_has_come(bench):
    bench.queue.send("{}", tenant="acme", delay_s=bench.delay_s)
    bench.receive_nothing()
    bench.pass_time(bench.delay_s + 1)
    assert len(bench.receive()) == 1


def test_a_message_that_keeps_failing_moves_to_the_dead_letter_queue(bench):
    message_id = bench.queue.send("{}", tenant="acme")
    for _ in range(MAX_RECEIVES):
        assert len(bench.receive()) == 1
        bench.pass_time(VISIBILITY_S + 1)
    bench.receive_nothing()
    assert [dead.message_id for dead in bench.buried()] == [message_id]


def test_a_buried_message_is_on_the_dead_letter_queue_with_its_reason_and_nowhere_else(bench):
    bench.queue.send("not json", tenant="acme", attributes={"forwarded": "1"})
    [delivery] = bench.receive()
    bench.queue.bury(delivery, reason="the message is not JSON: ☃\n")
    [dead] = bench.buried()
    assert dead.body == "not json"
    assert dead.attributes == {"forwarded": "1", "reason": "the message is not JSON: ??"}
    bench.pass_time(VISIBILITY_S + 1)
    bench.receive_nothing()


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
    assert bench.holds(0)


def test_a_message_at_the_limit_is_sent(bench):
    bench.queue.send("x" * SQS_MESSAGE_BYTES, tenant="acme")
    assert len(bench.receive()) == 1


@pytest.mark.parametrize("body", ["", "\x00", "☃", "\ud800", "\ufffe", "\x7f"])
def test_characters_that_a_broker_may_refuse_are_not_sent(bench, body):
    with pytest.raises(ValueError, match="ASCII"):
        bench.queue.send(body, tenant="acme")
    assert bench.holds(0)


def test_many_messages_are_sent_whatever_their_number_and_size(bench):
    bodies = [str(n) for n in range(23)] + ["y" * (SQS_MESSAGE_BYTES - 10)] * 2
    confirmed = bench.queue.send_many([Message(body=body, tenant="acme") for body in bodies])
    assert len(set(confirmed)) == 25
    assert None not in confirmed
    received = []
    for _ in range(25):
        if missing := 25 - len(received):
            received += bench.receive(missing, limit=missing)
    assert sorted(delivery.body for delivery in received) == sorted(bodies)


def test_one_message_that_cannot_be_sent_keeps_all_of_them(bench):
    with pytest.raises(ValueError, match="ASCII"):
        bench.queue.send_many([Message(body=body, tenant="acme") for body in ("{}", "☃")])
    assert bench.holds(0)


def test_what_was_received_can_be_settled_when_nothing_more_is(bench):
    bench.queue.send("{}", tenant="acme")
    [delivery] = bench.receive()
    bench.queue.stop_receiving()
    bench.queue.acknowledge(delivery)
    assert bench.holds(0)


def test_depth_counts_what_is_visible_delayed_and_in_flight(bench):
    bench.queue.send("1", tenant="acme")
    bench.receive()
    bench.queue.send("2", tenant="acme")
    bench.queue.send("3", tenant="acme", delay_s=60)
    assert bench.holds(3)


def test_a_queue_without_a_dead_letter_queue_buries_nothing(bench):
    bench.dead_letters.send("{}", tenant="acme")
    [delivery] = bench.buried()
    with pytest.raises(ValueError, match="no dead-letter queue"):
        bench.dead_letters.bury(delivery, reason="x")
    assert bench.dead_letters.depth() == 1
