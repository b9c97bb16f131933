"""Depths of queues in RabbitMQ, as the function `send` tells them."""

from __future__ import annotations

import pytest

from cli.testing.lambdas import LocalFunction, LocalLambda
from functions.fleet_scaler.aws import QueueDepths, SentDepths
from shared.errors import QueueUnavailableError
from shared.queues.invoked import SendFunction
from shared.queues.memory import MemoryQueue
from tests.fixtures.job_rows import ManualClock


@pytest.fixture
def told():
    return {
        "heavy/async": {"ready": 3, "delayed": 2, "dead": 9},
        "heavy/batch": {"ready": 0, "delayed": 0, "dead": 0},
    }


@pytest.fixture
def depths(told):
    chunks = MemoryQueue(visibility_s=60, clock=ManualClock())
    chunks.send("{}", tenant="acme")
    functions = LocalLambda()
    functions.add(LocalFunction("send", lambda event, _: {"depths": _asked(told, event)}))
    return SentDepths(
        SendFunction(functions, function="send"),
        queues={"heavy": ("async", "batch")},
        chunks=QueueDepths({"heavy": {"chunks": chunks}}),
    )


def _asked(told, event):
    return {place: told.get(place) for place in event["depths"]}


def test_what_waits_now_or_later_counts_and_dead_letters_do_not(depths):
    assert depths.of("heavy").depths == {"async": 5, "batch": 0, "chunks": 1}


def test_dead_letters_are_told_apart(depths):
    assert depths.of("heavy").dead_letters == 9


def test_a_queue_that_the_broker_does_not_tell_of_is_no_empty_queue(depths, told):
    del told["heavy/batch"]

    with pytest.raises(QueueUnavailableError, match="heavy/batch"):
        depths.of("heavy")
