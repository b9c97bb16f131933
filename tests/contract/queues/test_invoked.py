"""Sending from outside the broker's network: the queue, the function behind it and a real broker."""

from __future__ import annotations

import logging
import time
import uuid

import pytest

from cli.testing.lambdas import LocalFunction, LocalLambda
from functions.send.broker import REST_S_MAX, WarmBroker
from functions.send.service import make_handler
from shared.errors import QueueUnavailableError, TooLargeError
from shared.limits import SQS_MESSAGE_BYTES
from shared.queues.invoked import CALL_MESSAGES_MAX, PAUSE_S, InvokedQueue, SendFunction
from shared.queues.opened import open_queues
from shared.queues.protocol import Message
from shared.queues.rabbitmq import AmqpSettings, RabbitBroker
from shared.queues.sqs import SqsQueue
from shared.settings.jobs import JobSettings, SendSettings

pytestmark = pytest.mark.rabbitmq


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class CountingLambda(LocalLambda):
    """Functions by name, and how often one was invoked."""

    calls = 0

    def invoke(self, **arguments):
        self.calls += 1
        return super().invoke(**arguments)


def sending(settings, clock=time.monotonic):
    """The function as deployed, and its broker, to be closed."""
    warm = WarmBroker(settings, connect_secrets=pytest.fail, clock=clock)
    handler = make_handler(settings, broker=warm, logger=logging.getLogger("send"))
    return LocalFunction("send", handler), warm


def settings_for(url, name):
    queues = {"shared": {"async": name}}
    return SendSettings(stage="dev", queues=queues, amqp_url=url, confirm_timeout_s=3)


@pytest.fixture
def name():
    return f"invoked-{uuid.uuid4().hex}"


@pytest.fixture
def rested():
    return Clock()


@pytest.fixture
def lambdas(rabbitmq, name, rested):
    function, warm = sending(settings_for(rabbitmq.url, name), clock=rested)
    lambdas = CountingLambda()
    lambdas.add(function)
    yield lambdas
    warm.close(5)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def queue(lambdas, clock):
    function = SendFunction(lambdas, function="send", clock=clock)
    return InvokedQueue(function, pool="shared", queue="async")


@pytest.fixture
def received(rabbitmq, name):
    """Takes so many messages off the queue, as a worker does."""
    with RabbitBroker(AmqpSettings(url=rabbitmq.url)) as broker:
        worker = broker.queue(name, prefetch=1000)

        def receive(count):
            deliveries = []
            end = time.monotonic() + 20
            while len(deliveries) < count and time.monotonic() < end:
                deliveries += worker.receive(limit=count, wait_s=0.5)
            for delivery in deliveries:
                worker.acknowledge(delivery)
            return deliveries

        yield receive


def test_the_first_message_makes_the_queue_and_arrives_as_it_was_sent(queue, received):
    message_id = queue.send('{"a": 1}', tenant="acme", attributes={"forwarded": "1"})
    [delivery] = received(1)
    assert (delivery.message_id, delivery.body) == (message_id, '{"a": 1}')
    assert (delivery.tenant, delivery.attributes) == ("acme", {"forwarded": "1"})


def test_many_messages_go_in_few_calls(queue, lambdas, received):
    count = CALL_MESSAGES_MAX + 20
    messages = [Message(body=str(n), tenant="acme") for n in range(count)]
    sent = queue.send_many(messages)
    assert lambdas.calls == 2
    assert [delivery.message_id for delivery in received(count)] == list(sent)


def test_large_messages_share_no_call_that_would_be_too_large(queue, lambdas):
    message = Message(body="x" * SQS_MESSAGE_BYTES, tenant="acme")
    assert None not in queue.send_many([message] * 4)
    assert lambdas.calls == 2


def test_a_message_past_the_limit_is_refused_before_anything_is_sent(queue, lambdas):
    with pytest.raises(TooLargeError):
        queue.send_many([Message(body="x" * n, tenant="a") for n in (1, SQS_MESSAGE_BYTES + 1)])
    assert lambdas.calls == 0


def test_a_delayed_message_counts_as_delayed(queue):
    queue.send("{}", tenant="acme")
    queue.send("{}", tenant="acme", delay_s=60)
    assert queue.depth() == 2


def test_depths_are_told_of_known_queues_and_null_of_others(lambdas):
    answer = lambdas.add(lambdas.remove("send")).call({"depths": ["shared/async", "no/such"]})
    empty = {"ready": 0, "delayed": 0, "dead": 0}
    assert answer == {"depths": {"shared/async": empty, "no/such": None}, "available": True}


def test_a_queue_that_the_stage_does_not_have_is_sent_nothing(lambdas, clock):
    function = SendFunction(lambdas, function="send", clock=clock)
    queue = InvokedQueue(function, pool="shared", queue="batch")
    with pytest.raises(QueueUnavailableError, match="shared/batch"):
        queue.send("{}", tenant="acme")
    # That is no outage: the next call is made.
    assert queue.send_many([Message(body="{}", tenant="acme")]) == [None]
    assert lambdas.calls == 2


def test_after_an_outage_nobody_waits_for_a_moment_and_then_the_broker_is_asked_again(
    queue, lambdas, clock, name
):
    good = lambdas.remove("send")
    nobody, warm = sending(settings_for("amqp://127.0.0.1:9/", name))
    lambdas.add(nobody)
    with pytest.raises(QueueUnavailableError):
        queue.send("{}", tenant="acme")
    warm.close(5)
    lambdas.add(good)
    assert queue.send_many([Message(body="{}", tenant="acme")] * 2) == [None, None]
    assert lambdas.calls == 1

    clock.now = PAUSE_S
    assert queue.send("{}", tenant="acme")
    assert lambdas.calls == 2


def test_a_function_that_fails_is_an_outage(lambdas, clock):
    lambdas.add(LocalFunction("send", lambda *_: 1 / 0))
    queue = InvokedQueue(
        SendFunction(lambdas, function="send", clock=clock), pool="shared", queue="async"
    )
    with pytest.raises(QueueUnavailableError, match="failed"):
        queue.send("{}", tenant="acme")


def test_a_connection_that_has_rested_too_long_is_not_trusted(queue, rested, caplog):
    caplog.set_level(logging.INFO)

    def connected_after(rest_s):
        rested.now += rest_s
        queue.send("{}", tenant="acme")
        return caplog.text.count("connected to RabbitMQ")

    assert [connected_after(0), connected_after(REST_S_MAX), connected_after(REST_S_MAX + 1)] == [
        1,
        1,
        2,
    ]


@pytest.mark.parametrize(
    "call", ["receive", "acknowledge", "hand_back", "hand_back_many", "extend", "bury"]
)
def test_nothing_is_received_through_a_function(queue, call):
    arguments = {
        "receive": {"limit": 1, "wait_s": 0},
        "extend": {"delivery": None, "visibility_s": 1},
        "bury": {"delivery": None, "reason": "x"},
        "hand_back_many": {"deliveries": [], "delays_s": []},
    }.get(call, {"delivery": None})
    with pytest.raises(ValueError, match="only sent to"):
        getattr(queue, call)(**arguments)


def test_urls_of_the_settings_are_on_sqs_and_names_in_rabbitmq():
    queues = {"shared": {"async": "laneway-dev-shared-async", "chunks": "https://sqs/chunks"}}
    settings = JobSettings(stage="dev", broker="rabbitmq", send_function="send", queues=queues)
    opened = open_queues(settings, sqs=None, connect_lambda=LocalLambda)
    assert isinstance(opened["shared", "async"], InvokedQueue)
    assert isinstance(opened["shared", "chunks"], SqsQueue)


def test_a_stage_on_sqs_connects_to_no_function():
    queues = {"shared": {"async": "https://sqs/async"}}
    opened = open_queues(
        JobSettings(stage="dev", queues=queues), sqs=None, connect_lambda=pytest.fail
    )
    assert isinstance(opened["shared", "async"], SqsQueue)
