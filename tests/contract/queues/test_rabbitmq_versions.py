"""What is said to the broker is what RabbitMQ 4 takes, and what it counts: read off the wire.

The broker of these tests is an older one, which takes more. Version 4.3 refuses queues that are neither durable
nor exclusive, limits for a whole channel and arguments of mirrored or lazy queues; it counts a `basic.reject`
as a delivery that failed and a `basic.nack` not at all; and since 4.0 a queue without a limit of its own
drops at 20 deliveries.
"""

from __future__ import annotations

import socket
import threading
import uuid
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import pika
import pytest
from pika.frame import Header, Method, decode_frame

from shared.queues.protocol import Message
from shared.queues.rabbitmq import AmqpSettings, RabbitBroker
from shared.queues.rabbitmq.topology import NEVER

pytestmark = pytest.mark.rabbitmq

MAX_RECEIVES = 3
GREETING_BYTES = 8
KNOWN = {
    "x-queue-type",
    "x-delivery-limit",
    "x-consumer-timeout",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-overflow",
}
"""Arguments that quorum queues of 4.3 take."""


class Wire:
    """Stands between clients and the broker; keeps what clients said, as frames."""

    def __init__(self, url):
        parts = urlsplit(url)
        self._broker = (parts.hostname, parts.port)
        self._server = socket.create_server(("127.0.0.1", 0))
        port = self._server.getsockname()[1]
        self.url = parts._replace(
            netloc=f"{parts.username}:{parts.password}@127.0.0.1:{port}"
        ).geturl()
        self._spoken = []
        self._ends = []
        self._threads = []
        self._start(self._accept)

    def said(self, *kinds):
        """Frames of such methods, from all connections."""
        found = []
        for spoken in self._spoken:
            data = bytes(spoken)[GREETING_BYTES:]
            while data:
                consumed, frame = decode_frame(data)
                if not consumed:
                    break
                data = data[consumed:]
                if isinstance(frame, Method):
                    frame = frame.method
                if isinstance(frame, kinds):
                    found.append(frame)
        return found

    def close(self):
        for end in (self._server, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for end in (self._server, *self._ends):
            end.close()

    def _start(self, target, *arguments):
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                broker = socket.create_connection(self._broker)
                self._ends += [client, broker]
                spoken = bytearray()
                self._spoken.append(spoken)
                self._start(_carry, client, broker, spoken)
                self._start(_carry, broker, client, bytearray())


def _carry(source, target, kept):
    with suppress(OSError):
        while data := source.recv(65_536):
            kept += data
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def speaking(url):
    wire = Wire(url)
    try:
        with RabbitBroker(AmqpSettings(url=wire.url)) as broker:
            yield wire, broker
    finally:
        wire.close()


def take(queue, count):
    found = []
    while len(found) < count:
        taken = queue.receive(limit=count - len(found), wait_s=10)
        assert taken
        found += taken
    return found


@pytest.fixture(scope="module")
def wire(rabbitmq):
    """All that the lane does with a queue has been said: each test looks at a side of it."""
    name = f"versions-{uuid.uuid4().hex}"
    with speaking(rabbitmq.url) as (wire, broker):
        broker.declare([name], max_receives=MAX_RECEIVES)
        queue = broker.queue(name, max_receives=MAX_RECEIVES, prefetch=6)
        queue.send_many([Message(body=str(n), tenant="acme") for n in range(6)])
        bodies = {delivery.body: delivery for delivery in take(queue, 4)}
        first, second, third, fourth = bodies.values()
        queue.acknowledge(first)
        queue.hand_back(second)
        queue.hand_back(third, delay_s=1)
        queue.bury(fourth, reason="unreadable")
        take(queue, 1)
        queue.stop_receiving()
        [dead] = take(broker.dead_letters(name), 1)
        broker.dead_letters(name).acknowledge(dead)
        assert broker.counts(name).dead == 0
    return wire


def test_every_queue_is_durable_and_of_a_kind_that_is_there(wire):
    made = [said for said in wire.said(pika.spec.Queue.Declare) if not said.passive]
    assert len(made) == 6
    for said in made:
        assert said.durable
        assert not said.exclusive
        assert not said.auto_delete
        assert said.arguments["x-queue-type"] == "quorum"
        assert set(said.arguments) <= KNOWN
    assert not wire.said(pika.spec.Exchange.Declare)


def test_what_is_consumed_has_a_limit_of_its_own_and_the_dead_are_never_dropped(wire):
    consumed = {said.queue for said in wire.said(pika.spec.Basic.Consume)}
    limits = {
        said.queue: said.arguments.get("x-delivery-limit")
        for said in wire.said(pika.spec.Queue.Declare)
        if said.arguments
    }
    assert sorted(limits[queue] for queue in consumed) == [MAX_RECEIVES - 1, NEVER]


def test_what_is_given_ahead_is_bounded_for_each_consumer(wire):
    bounds = wire.said(pika.spec.Basic.Qos)
    assert bounds
    assert not any(said.global_qos for said in bounds)
    assert all(said.prefetch_count > 0 for said in bounds)
    assert not any(said.no_ack for said in wire.said(pika.spec.Basic.Consume))


def test_what_was_worked_on_comes_again_as_a_failure_and_what_nobody_took_as_none(wire):
    assert [said.requeue for said in wire.said(pika.spec.Basic.Reject)] == [True]
    returned = wire.said(pika.spec.Basic.Nack)
    assert returned
    assert all(said.requeue and not said.multiple for said in returned)


def test_every_message_is_persistent_confirmed_and_must_have_a_queue(wire):
    published = wire.said(pika.spec.Basic.Publish)
    assert len(published) == 6 + 2
    assert all(said.mandatory for said in published)
    assert wire.said(pika.spec.Confirm.Select)
    assert {said.properties.delivery_mode for said in wire.said(Header)} == {2}
