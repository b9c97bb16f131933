"""A queue that wakes its consumers: the hint is cheap, rare, and never anybody's failure."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from shared.queues.memory import MemoryQueue
from shared.queues.protocol import Message
from shared.queues.waking import WAKE_EVERY_S, FunctionWake, WakingQueue
from tests.fixtures.job_rows import ManualClock


class Functions:
    """The call of the Lambda API that a wake makes; `failure` is raised by it."""

    def __init__(self):
        self.calls = []
        self.failure = None

    def invoke(self, **arguments):
        self.calls.append(arguments)
        if self.failure is not None:
            raise self.failure
        return {"StatusCode": 202}


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def functions():
    return Functions()


@pytest.fixture
def wake(functions, clock):
    return FunctionWake(
        lambda: functions, functions={"heavy": "scaler", "other": "scaler"}, clock=clock
    )


@pytest.fixture
def queue(wake, clock):
    return WakingQueue(MemoryQueue(visibility_s=60, clock=clock), pool="heavy", wake=wake)


def test_a_message_that_was_sent_wakes_the_pool_without_waiting_for_it(queue, functions):
    queue.send("{}", tenant="acme")

    (call,) = functions.calls
    assert call["FunctionName"] == "scaler"
    assert call["InvocationType"] == "Event"
    assert json.loads(call["Payload"]) == {"wake": "heavy"}
    assert queue.depth() == 1


def test_a_flood_of_messages_wakes_once_in_a_while(queue, functions, clock):
    for _ in range(100):
        queue.send("{}", tenant="acme")
    assert len(functions.calls) == 1

    clock.advance(WAKE_EVERY_S)
    queue.send("{}", tenant="acme")
    assert len(functions.calls) == 2


def test_each_pool_is_woken_by_its_own_messages(wake, functions):
    wake("heavy")
    wake("other")

    assert [json.loads(call["Payload"])["wake"] for call in functions.calls] == ["heavy", "other"]


@pytest.mark.parametrize(
    "failure",
    [
        ClientError({"Error": {"Code": "TooManyRequestsException"}}, "Invoke"),
        ClientError({"Error": {"Code": "AccessDeniedException"}}, "Invoke"),
        EndpointConnectionError(endpoint_url="https://lambda"),
    ],
    ids=["throttled", "not allowed", "not reached"],
)
def test_a_wake_that_fails_fails_nothing(queue, functions, failure):
    functions.failure = failure

    assert queue.send("{}", tenant="acme")
    assert queue.depth() == 1


def test_a_client_that_cannot_be_made_fails_nothing(clock):
    def connect():
        raise EndpointConnectionError(endpoint_url="https://lambda")

    FunctionWake(connect, functions={"heavy": "scaler"}, clock=clock)("heavy")


def test_many_messages_at_once_wake_once_and_none_confirmed_wakes_nobody(queue, functions, clock):
    message = Message(body="{}", tenant="acme")
    assert len(queue.send_many([message] * 3)) == 3
    assert len(functions.calls) == 1

    clock.advance(WAKE_EVERY_S)
    assert list(queue.send_many([])) == []
    assert len(functions.calls) == 1


def test_what_is_received_is_worked_on_as_with_the_queue_itself(queue):
    queue.send("{}", tenant="acme")
    (delivery,) = queue.receive(limit=10, wait_s=0)
    queue.extend(delivery, visibility_s=10)
    queue.hand_back(delivery)
    (again,) = queue.receive(limit=10, wait_s=0)
    queue.acknowledge(again)

    assert queue.depth() == 0
