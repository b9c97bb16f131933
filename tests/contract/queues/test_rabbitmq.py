"""RabbitMQ beside the common suite: what its users send, its limits, its threads and its refusals."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pika
import pytest

from shared.errors import QueueUnavailableError
from shared.jobs.run import JobRunner
from shared.jobs.work import Lease
from shared.limits import MESSAGE_BYTES_MAX
from shared.queues.protocol import Message
from shared.queues.rabbitmq import AmqpSettings, RabbitBroker, queue_name
from shared.queues.rabbitmq.topology import RETRY_S, Declaration, declare, retry_name
from tests.fixtures.job_desk import Desk, tensor_body

pytestmark = pytest.mark.rabbitmq

SOON_S = 10
MAX_RECEIVES = 4


def eventually(condition):
    deadline = time.monotonic() + SOON_S
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def receive(queue, count=1):
    """So many messages, which must come soon."""
    deadline = time.monotonic() + SOON_S
    received = []
    while len(received) < count and time.monotonic() < deadline:
        received += queue.receive(limit=count - len(received), wait_s=0.5)
    assert len(received) == count
    return received


def refusal(call):
    """What a call is refused with; nothing where it is not."""
    try:
        call()
    except QueueUnavailableError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def broker(rabbitmq):
    with RabbitBroker(AmqpSettings(url=rabbitmq.url)) as broker:
        yield broker


@pytest.fixture
def name(broker):
    """A declared queue of the test's own."""
    name = f"edges-{uuid.uuid4().hex}"
    broker.declare([name], max_receives=MAX_RECEIVES)
    return name


@pytest.fixture
def queue(broker, name):
    return broker.queue(name, max_receives=MAX_RECEIVES, prefetch=20)


@pytest.fixture
def dead_letters(broker, name):
    return broker.dead_letters(name)


@pytest.fixture
def publish(rabbitmq, name):
    """Puts bytes on the queue as a user's program does."""
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()

        def publish(body, **properties):
            channel.basic_publish(
                "", name, body, pika.BasicProperties(**properties), mandatory=True
            )

        yield publish


# --- what users send


def test_a_job_published_with_plain_pika_runs(small_models, queue, publish):
    desk = Desk(small_models, queues={("shared", "async"): queue}, clock=time.time)
    body = {"schema_version": 1, "id": "mine", "model": "scale"}
    body["input"] = json.loads(tensor_body([[1.0, 2.0]]))
    publish(json.dumps(body).encode())
    assert eventually(lambda: queue.depth() == 1)

    source = desk.start()
    assert eventually(source.poll)

    assert desk.row("mine").status == "succeeded"
    assert json.loads(desk.result("mine")) == json.loads(desk.realtime(tensor_body([[1.0, 2.0]])))
    assert eventually(lambda: queue.depth() == 0)


def test_a_message_without_an_id_has_one_of_its_body_in_every_delivery(queue, publish):
    publish(b'{"a": 1}')
    publish(b'{"a": 2}')
    first, other = receive(queue, 2)
    queue.hand_back(first)
    [again] = receive(queue)
    queue.hand_back(again, delay_s=1)
    [later] = receive(queue)

    assert first.message_id.startswith("b-")
    assert {again.message_id, later.message_id} == {first.message_id}
    assert other.message_id != first.message_id
    assert [first.receive_count, again.receive_count, later.receive_count] == [1, 2, 3]


@pytest.mark.parametrize(
    ("given", "kept"),
    [("order-42", True), ("a" * 62, True), ("a" * 63, False), ("../x", False), ("☃", False)],
)
def test_an_id_that_can_be_no_part_of_a_jobs_id_is_replaced(queue, publish, given, kept):
    publish(b"{}", message_id=given)
    [delivery] = receive(queue)
    assert (delivery.message_id == given) is kept
    assert delivery.message_id.isascii()
    assert len(delivery.message_id) <= 62


def test_of_foreign_headers_only_text_becomes_an_attribute(queue, publish):
    publish(b"{}", headers={"forwarded": "1", "n": 3, "x-mine": "a", "nested": {"a": "b"}})
    [delivery] = receive(queue)
    assert delivery.attributes == {"forwarded": "1"}
    assert delivery.tenant == ""


def test_an_unreadable_message_is_buried_byte_for_byte_with_its_reason(
    small_models, queue, dead_letters, publish, rabbitmq
):
    publish(b"\xff\x00 no text", headers={"n": 3}, correlation_id="theirs")
    desk = Desk(small_models, queues={("shared", "async"): queue}, clock=time.time)
    [delivery] = receive(queue)

    lease = Lease(owner="worker", until=time.time() + 60)
    [outcome] = JobRunner(desk.worker).run_delivery(
        [delivery], queue="async", lease=lease, until_s=time.monotonic() + 60
    )
    queue.bury(delivery, reason=outcome.reason)

    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        _, properties, body = connection.channel().basic_get(dead_letters.name)
    assert body == b"\xff\x00 no text"
    assert properties.headers["n"] == 3
    assert "not JSON" in properties.headers["reason"]
    assert properties.correlation_id == "theirs"
    assert eventually(lambda: queue.depth() == 0)


def test_a_message_past_the_limit_is_put_aside_by_the_consumer(queue, dead_letters, publish):
    publish(b" " * (MESSAGE_BYTES_MAX + 1))
    publish(b" " * MESSAGE_BYTES_MAX)

    [delivery] = receive(queue)

    assert len(delivery.body) == MESSAGE_BYTES_MAX
    assert eventually(lambda: dead_letters.depth() == 1)


# --- redelivery and its limit


def test_every_way_of_coming_again_counts_towards_the_limit(rabbitmq, name, queue, dead_letters):
    message_id = queue.send("{}", tenant="acme")
    with RabbitBroker(AmqpSettings(url=rabbitmq.url)) as lost:
        [delivery] = receive(lost.queue(name))
        assert delivery.receive_count == 1
    [delivery] = receive(queue)
    assert delivery.receive_count == 2
    queue.hand_back(delivery, delay_s=1)
    [delivery] = receive(queue)
    assert delivery.receive_count == 3
    queue.hand_back(delivery)
    [delivery] = receive(queue)
    assert delivery.receive_count == MAX_RECEIVES
    queue.hand_back(delivery)

    [dead] = receive(dead_letters)
    assert dead.message_id == message_id
    assert eventually(lambda: queue.depth() == 0)


def test_a_short_delay_behind_a_long_one_does_not_wait_for_it(queue):
    queue.send("late", tenant="acme", delay_s=50)
    queue.send("soon", tenant="acme", delay_s=1)
    assert [delivery.body for delivery in receive(queue)] == ["soon"]


def test_a_delay_past_the_longest_waits_as_long_as_the_longest(queue, broker, name):
    queue.send("{}", tenant="acme", delay_s=100_000)
    waiting = Declaration(retry_name(name, RETRY_S[-1]))
    assert eventually(lambda: declare(broker._publishing, [waiting], timeout_s=5) == [1])


def test_what_a_closed_worker_held_comes_to_another_at_once(rabbitmq, name, queue):
    with RabbitBroker(AmqpSettings(url=rabbitmq.url)) as closing:
        closed = closing.queue(name)
        queue.send_many([Message(body=str(n), tenant="acme") for n in range(5)])
        [first] = receive(closed)
        closed.acknowledge(first)
    assert sorted(delivery.body for delivery in receive(queue, 4)) == ["1", "2", "3", "4"]


def test_a_lost_delivery_is_held_no_more_and_what_is_done_to_it_is_done_to_nothing(rabbitmq, name):
    with RabbitBroker(AmqpSettings(url=rabbitmq.url)) as first:
        queue = first.queue(name)
        queue.send("{}", tenant="acme")
        [delivery] = receive(queue)
        assert queue.holds(delivery)
    assert not queue.holds(delivery)
    queue.acknowledge(delivery)
    queue.hand_back(delivery, delay_s=5)
    queue.bury(delivery, reason="x")
    with RabbitBroker(AmqpSettings(url=rabbitmq.url)) as second:
        assert receive(second.queue(name))[0].receive_count == 2


def test_messages_acknowledged_without_a_gap_are_told_by_one_frame(rabbitmq, name, queue):
    with RabbitBroker(AmqpSettings(url=rabbitmq.url)) as consuming:
        busy = consuming.queue(name, prefetch=64)
        queue.send_many([Message(body=str(n), tenant="acme") for n in range(64)])
        received = receive(busy, 64)
        connection = consuming._consuming._pika
        before = connection.frames_sent
        busy.acknowledge_many(received)
        assert eventually(lambda: connection.frames_sent > before)
        assert connection.frames_sent - before == 1
    assert queue.depth() == 0


def test_what_the_broker_does_not_take_for_later_stays_in_hand(rabbitmq, name, queue):
    with RabbitBroker(AmqpSettings(url=rabbitmq.url)) as consuming:
        holding = consuming.queue(name)
        queue.send_many([Message(body=str(n), tenant="acme") for n in range(3)])
        received = receive(holding, 3)
        with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
            connection.channel().queue_delete(retry_name(name, 30))
        holding.hand_back_many(received, delays_s=[1, 30, 1])
        assert [holding.holds(delivery) for delivery in received] == [False, True, False]
    assert len(receive(queue, 3)) == 3


def test_what_is_held_is_not_acknowledged_with_what_came_after_it(rabbitmq, name, queue):
    with RabbitBroker(AmqpSettings(url=rabbitmq.url)) as closing:
        closed = closing.queue(name)
        queue.send_many([Message(body=str(n), tenant="acme") for n in range(8)])
        received = receive(closed, 8)
        closed.acknowledge_many([received[n] for n in (0, 1, 3, 4)])
        closed.acknowledge_many([received[n] for n in (7, 6)])
    kept = {received[n].body for n in (2, 5)}
    assert {delivery.body for delivery in receive(queue, 2)} == kept
    assert list(queue.receive(limit=1, wait_s=0.2)) == []


def test_a_worker_that_stops_receiving_lets_others_have_what_it_was_given_ahead(
    rabbitmq, name, queue
):
    with RabbitBroker(AmqpSettings(url=rabbitmq.url)) as ending:
        ended = ending.queue(name)
        queue.send_many([Message(body=str(n), tenant="acme") for n in range(6)])
        [first] = receive(ended)
        ended.stop_receiving()

        started_s = time.monotonic()
        assert list(ended.receive(limit=1, wait_s=30)) == []
        assert time.monotonic() - started_s < 5
        others = receive(queue, 5)
        assert first.body not in {delivery.body for delivery in others}
        ended.acknowledge(first)
    for delivery in others:
        queue.acknowledge(delivery)
    assert eventually(lambda: queue.depth() == 0)


def test_a_queue_that_was_deleted_is_consumed_again_when_it_is_back(rabbitmq, broker, name, queue):
    queue.send("before", tenant="acme")
    queue.acknowledge(receive(queue)[0])
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        connection.channel().queue_delete(name)
    # At once, RabbitMQ 3.10 would tell nobody, and keep what it delivers to the old consumer.
    assert eventually(lambda: name in refusal(lambda: queue.receive(limit=1, wait_s=0.1)))
    broker.declare([name], max_receives=MAX_RECEIVES)
    queue.send("{}", tenant="acme")
    received = []

    def came():
        refusal(lambda: received.extend(queue.receive(limit=1, wait_s=0.2)))
        return received

    assert eventually(came)


# --- threads and time


def test_many_threads_send_receive_and_acknowledge_on_one_connection(broker, name, queue):
    total, done = 400, []

    def send(part):
        for n in range(part, total, 4):
            queue.send(str(n), tenant="acme")

    def work(_):
        while len(done) < total:
            for delivery in queue.receive(limit=5, wait_s=0.1):
                done.append(delivery.body)
                queue.acknowledge(delivery)

    with ThreadPoolExecutor(12) as pool:
        senders = [pool.submit(send, part) for part in range(4)]
        workers = [pool.submit(work, n) for n in range(8)]
        for future in [*senders, *workers]:
            future.result(60)

    assert sorted(done, key=int) == [str(n) for n in range(total)]
    assert eventually(lambda: broker.counts(name).ready == 0 and queue.depth() == 0)


def test_a_worker_has_no_more_than_its_prefetch(rabbitmq, broker, name, queue):
    queue.send_many([Message(body=str(n), tenant="acme") for n in range(10)])
    with RabbitBroker(AmqpSettings(url=rabbitmq.url)) as worker:
        assert receive(worker.queue(name, prefetch=3))
        assert eventually(lambda: broker.counts(name).ready == 7)


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="a policy of Linux")
def test_the_io_thread_interrupts_no_model_s_run_when_it_wakes(queue):
    queue.send("{}", tenant="acme")
    receive(queue)

    found = [one.native_id for one in threading.enumerate() if one.name == "laneway-amqp"]

    assert {os.sched_getscheduler(thread) for thread in found} == {os.SCHED_BATCH}


def test_a_queue_without_a_bound_on_its_prefetch_is_refused(broker):
    with pytest.raises(ValueError, match="prefetch"):
        broker.queue("any", prefetch=0)


def test_one_wait_hears_of_every_queue(broker, name, queue):
    other = f"{name}-other"
    broker.declare([other])
    queues = [queue, broker.queue(other)]
    for each in queues:
        assert list(each.receive(limit=1, wait_s=0)) == []
    assert not broker.wait(0.05)
    sender = threading.Timer(0.05, queues[1].send, ["{}"], {"tenant": "acme"})
    sender.start()
    assert broker.wait(SOON_S)
    assert [len(each.receive(limit=1, wait_s=0)) for each in queues] == [0, 1]
    sender.join()


def test_work_that_outlasts_many_heartbeats_is_acknowledged(rabbitmq, name, caplog):
    with RabbitBroker(AmqpSettings(url=rabbitmq.url, heartbeat_s=1)) as broker:
        queue = broker.queue(name)
        queue.send("{}", tenant="acme")
        [delivery] = receive(queue)
        time.sleep(3)  # the work; the broker gives up a peer that is silent for two heartbeats
        assert queue.holds(delivery)
        queue.acknowledge(delivery)
        assert eventually(lambda: queue.depth() == 0)
    assert "cannot be reached" not in caplog.text


# --- refusals


def test_a_message_for_a_queue_that_is_missing_is_not_confirmed(broker):
    missing = broker.queue(f"missing-{uuid.uuid4().hex}")
    with pytest.raises(QueueUnavailableError, match="no queue of this name"):
        missing.send("{}", tenant="acme")
    assert missing.send_many([Message(body="{}", tenant="acme")] * 3) == [None] * 3


def test_of_many_messages_those_that_are_confirmed_are_told_apart(broker, queue):
    there, missing = queue, broker.queue(f"missing-{uuid.uuid4().hex}")
    with ThreadPoolExecutor(8) as pool:
        message = [Message(body="{}", tenant="acme")] * 25
        sent = list(pool.map(lambda n: (missing if n % 2 else there).send_many(message), range(8)))
    assert all(None not in ids for ids in sent[::2])
    assert all(set(ids) == {None} for ids in sent[1::2])


def test_a_missing_queue_is_named_to_who_receives_and_consumed_once_it_is_there(broker):
    name = f"late-{uuid.uuid4().hex}"
    queue = broker.queue(name)
    assert eventually(lambda: name in refusal(lambda: queue.receive(limit=1, wait_s=0.1)))
    broker.declare([name])
    queue.send("{}", tenant="acme")
    assert eventually(lambda: refusal(lambda: queue.receive(limit=1, wait_s=0.1)) == "")


def test_a_queue_that_exists_otherwise_is_refused_and_stays(broker, name, queue):
    with pytest.raises(ValueError, match=f"{name}.*x-delivery-limit"):
        broker.declare([name], max_receives=MAX_RECEIVES + 1)
    broker.declare([name], max_receives=MAX_RECEIVES)
    assert queue.send("{}", tenant="acme")


def test_a_blocked_broker_refuses_at_once_and_still_takes_acknowledgements(rabbitmq, queue):
    queue.send("before", tenant="acme")
    [delivery] = receive(queue)
    rabbitmq.control("set_vm_memory_high_watermark", "0.000001")
    try:
        assert eventually(
            lambda: "takes no messages" in refusal(lambda: queue.send("blocked", tenant="acme"))
        )
        started_s = time.monotonic()
        assert queue.send_many([Message(body="{}", tenant="acme")]) == [None]
        assert time.monotonic() - started_s < 1
        queue.acknowledge(delivery)
        with RabbitBroker(AmqpSettings(url=rabbitmq.url)) as other:
            assert eventually(lambda: other.counts(queue.name).ready == 0)
    finally:
        rabbitmq.control("set_vm_memory_high_watermark", "absolute", "1GB")
    assert eventually(lambda: queue.send_many([Message(body="{}", tenant="a")]) != [None])


def test_a_broker_that_stays_blocked_is_given_up_and_connected_to_again(rabbitmq, name, caplog):
    settings = AmqpSettings(url=rabbitmq.url, blocked_timeout_s=0.5, confirm_timeout_s=2)
    rabbitmq.control("set_vm_memory_high_watermark", "0.000001")
    try:
        with RabbitBroker(settings) as broker:
            queue = broker.queue(name)
            assert queue.send_many([Message(body="{}", tenant="acme")]) == [None]
            assert eventually(lambda: "ConnectionBlockedTimeout" in caplog.text)
            rabbitmq.control("set_vm_memory_high_watermark", "absolute", "1GB")
            assert eventually(lambda: queue.send_many([Message(body="{}", tenant="a")]) != [None])
    finally:
        rabbitmq.control("set_vm_memory_high_watermark", "absolute", "1GB")


# --- TLS and credentials


def test_messages_travel_over_tls_to_a_broker_that_is_trusted(rabbitmq, rabbitmq_authority, name):
    authority = rabbitmq_authority
    trusted = AmqpSettings(url=rabbitmq.tls_url, ca_file=str(authority))
    pasted = AmqpSettings(url=rabbitmq.tls_url, ca_pem=authority.read_text())
    for settings in (trusted, pasted):
        with RabbitBroker(settings) as broker:
            assert broker.queue(name).send("{}", tenant="acme")


def test_a_certificate_that_nobody_vouches_for_is_refused(rabbitmq, name):
    settings = AmqpSettings(url=rabbitmq.tls_url, confirm_timeout_s=1)
    with RabbitBroker(settings) as broker:
        assert "SSLCertVerificationError" in refusal(
            lambda: broker.queue(name).send("{}", tenant="acme")
        )


def test_a_wrong_password_is_told_without_being_shown(rabbitmq, name, caplog):
    caplog.set_level(logging.DEBUG)
    canary = "cANary-7f3a"
    url = rabbitmq.url.replace("laneway:", f"laneway:{canary}")
    settings = AmqpSettings(url=url, confirm_timeout_s=1)
    with RabbitBroker(settings) as broker:
        refused = refusal(lambda: broker.queue(name).send("{}", tenant="acme"))
    assert "Authentication" in refused
    assert canary not in f"{settings!r} {refused} {caplog.text}"


def test_credentials_that_were_changed_are_found_by_who_is_refused(rabbitmq, name):
    old = AmqpSettings(url=rabbitmq.url.replace("laneway:", "laneway:before"), confirm_timeout_s=20)
    asked = []

    def renew():
        asked.append(1)
        if len(asked) == 1:
            raise QueueUnavailableError("the secret cannot be read now")
        return AmqpSettings(url=rabbitmq.url)

    with RabbitBroker(old, renew=renew) as broker:
        queue = broker.queue(name)
        assert queue.send("{}", tenant="acme")
        assert eventually(lambda: received(queue))
    assert len(asked) >= 2


def received(queue):
    try:
        return queue.receive(limit=1, wait_s=1)
    except QueueUnavailableError:
        return ()


def test_a_certificate_file_that_is_missing_is_found_at_once(rabbitmq):
    settings = AmqpSettings(url=rabbitmq.tls_url, ca_file="missing.pem")
    with pytest.raises(FileNotFoundError):
        RabbitBroker(settings)


def test_names_of_queues_are_the_stages():
    assert queue_name("dev", "shared", "async-high") == "laneway-dev-shared-async-high"
