"""A broker that is there and silent, of `make test-faults` alone: noticing takes as long as heartbeats do."""

from __future__ import annotations

import os
import signal
import time
import uuid

import pytest

from shared.errors import QueueUnavailableError
from shared.queues.rabbitmq import AmqpSettings, RabbitBroker
from tests.faults.stage import wait_for

pytestmark = pytest.mark.rabbitmq


def test_a_broker_that_answers_nobody_is_given_up_and_found_again(rabbitmq):
    """As behind a network that swallows everything: connections stay open and nothing comes."""
    name = f"silent-{uuid.uuid4().hex}"
    settings = AmqpSettings(url=rabbitmq.url, heartbeat_s=1, confirm_timeout_s=2)
    with RabbitBroker(settings) as broker:
        broker.declare([name])
        queue = broker.queue(name)
        message_id = queue.send("{}", tenant="acme")
        [held] = queue.receive(limit=1, wait_s=10)

        os.kill(rabbitmq.pid, signal.SIGSTOP)
        try:
            started_s = time.monotonic()
            with pytest.raises(QueueUnavailableError, match="did not confirm"):
                queue.send("{}", tenant="acme")
            assert time.monotonic() - started_s < 4
            wait_for(lambda: not queue.holds(held), what="what was held counts as lost")
        finally:
            os.kill(rabbitmq.pid, signal.SIGCONT)

        received = []

        def everything_came():
            try:
                received.extend(queue.receive(limit=5, wait_s=0.5))
            except QueueUnavailableError:
                return False
            return message_id in {delivery.message_id for delivery in received}

        wait_for(everything_came, what="the held message comes again")
        assert queue.send("{}", tenant="acme")
