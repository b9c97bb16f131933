"""A broker that is killed, a worker that is killed: what was confirmed or committed is worked on.

The queues are declared and the broker is stopped cleanly once before anything is killed: a queue that is
seconds old may be lost with all that was confirmed (docs/rabbitmq.md).
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections import Counter
from dataclasses import replace

import pytest

from cli.dev.broker import tend
from cli.testing import start_service
from cli.testing.event_source import EventSource
from cli.testing.lambdas import LocalFunction
from cli.testing.service import ingress_settings
from functions.send.broker import WarmBroker
from functions.send.service import make_handler as make_send
from functions.sweeper.service import make_handler as make_sweeper
from shared.errors import QueueUnavailableError
from shared.jobs.clock import system_clock
from shared.queues.protocol import Message
from shared.queues.rabbitmq import AmqpSettings, RabbitBroker
from shared.results.dynamodb import DynamoJobStore
from shared.results.rows import JobKey
from shared.settings.jobs import SendSettings, SweeperSettings
from tests.faults.stage import PROJECT, wait_for
from tests.fixtures.ingress import make_ingress

pytestmark = pytest.mark.rabbitmq

MAX_RECEIVES = 3
JOB = {
    "model": "scale",
    "input": {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}]},
}
DYING_WORKER = """
import os, sys
from shared.queues.rabbitmq import AmqpSettings, RabbitBroker
queue = RabbitBroker(AmqpSettings(url=sys.argv[1])).queue(sys.argv[2], max_receives=3)
[delivery] = queue.receive(limit=1, wait_s=10) or [None]
print(delivery and delivery.receive_count, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.fixture(scope="module")
def names(rabbitmq):
    """A queue for each test, on a broker that has been stopped cleanly since."""
    names = {test: f"faults-{test}-{uuid.uuid4().hex}" for test in ("storm", "lane", "worker")}
    with RabbitBroker(AmqpSettings(url=rabbitmq.url)) as broker:
        broker.declare([names["storm"], names["lane"]])
        broker.declare([names["worker"]], max_receives=MAX_RECEIVES)
    rabbitmq.restart()
    return names


@pytest.fixture
def broker(rabbitmq):
    with RabbitBroker(AmqpSettings(url=rabbitmq.url, confirm_timeout_s=3)) as broker:
        yield broker


def test_every_confirmed_message_is_worked_on_though_the_broker_is_killed(rabbitmq, names, broker):
    queue = broker.queue(names["storm"], prefetch=30)
    confirmed, worked_on = [], Counter()
    stop, published = threading.Event(), threading.Event()

    def publish():
        while not stop.is_set():
            batch = [Message(body="{}", tenant="acme")] * 10
            confirmed.extend(filter(None, queue.send_many(batch)))
        published.set()

    def work():
        while not published.is_set() or set(confirmed) - worked_on.keys():
            try:
                for delivery in queue.receive(limit=5, wait_s=0.2):
                    worked_on[delivery.message_id] += 1
                    queue.acknowledge(delivery)
            except QueueUnavailableError:
                stop.wait(0.05)

    threads = [threading.Thread(target=target) for target in (publish, work, work)]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: len(confirmed) > 200, what="many messages are confirmed", timeout_s=30)
        rabbitmq.kill()
        before = len(confirmed)
        rabbitmq.start()
        wait_for(lambda: len(confirmed) > before + 100, what="it goes on", timeout_s=30)
    finally:
        stop.set()
    for thread in threads:
        thread.join(30)

    assert set(confirmed) <= worked_on.keys()
    wait_for(lambda: queue.depth() == 0, what="the queue is empty")


def test_a_message_that_kills_every_worker_goes_to_the_dead_letters(rabbitmq, names, broker):
    queue, dead_letters = broker.queue(names["worker"]), broker.dead_letters(names["worker"])
    message_id = queue.send("{}", tenant="acme")

    told = [_run_dying_worker(rabbitmq.url, names["worker"]) for _ in range(MAX_RECEIVES)]

    assert told == ["1", "2", "3"]
    [dead] = dead_letters.receive(limit=1, wait_s=10)
    assert dead.message_id == message_id


def _run_dying_worker(url, name):
    command = [sys.executable, "-c", DYING_WORKER, url, name]
    done = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == -9, done.stderr
    return done.stdout.strip()


def test_the_local_service_says_that_its_broker_died_and_starts_it_again(rabbitmq, names):
    said = []
    tend(rabbitmq, said.append)
    assert said == []

    os.kill(rabbitmq.pid, signal.SIGKILL)
    wait_for(lambda: rabbitmq.ended, what="the broker has ended")
    tend(rabbitmq, said.append)

    assert [line[0] for line in said] == ["✗", "✓"]
    assert not rabbitmq.ended
    with RabbitBroker(AmqpSettings(url=rabbitmq.url)) as broker:
        assert broker.counts(names["storm"]).dead == 0


# --- jobs are accepted without the broker, and run once it is back


@pytest.fixture
def service(small_models, rabbitmq, names):
    """The service in this process with its async queue on RabbitMQ, and a clock that can be set on."""
    with start_service(small_models) as service:
        settings = replace(
            ingress_settings(service.resources),
            broker="rabbitmq",
            send_function="send",
            queues={"shared": {"async": names["lane"]}},
        )
        told = SendSettings(
            stage="local",
            queues=settings.queues,
            amqp_url=rabbitmq.url,
            confirm_timeout_s=1.0,
        )
        warm = WarmBroker(told, connect_secrets=pytest.fail)
        sending = make_send(told, broker=warm, logger=logging.getLogger("send"))
        service.lambdas.add(LocalFunction("send", sending))
        service.gateway.routes["$default"] = make_ingress(
            service, settings, small_models, connect_lambda=lambda: service.lambdas
        )
        yield service
        warm.close(5)


def sweep(service, names, *, after_s):
    """One pass of the sweeper, so many seconds from now."""
    resources = service.resources
    settings = SweeperSettings(
        stage="local",
        jobs_table=resources.jobs_table,
        broker="rabbitmq",
        send_function="send",
        queues={"shared": {"async": names["lane"]}},
    )
    handler = make_sweeper(
        settings,
        dynamodb=resources.dynamodb,
        sqs=resources.sqs,
        logger=logging.getLogger("sweep"),
        clock=lambda: system_clock() + after_s,
        connect_lambda=lambda: service.lambdas,
    )
    function = LocalFunction("sweeper", handler)
    return Counter({name: count for name, count in function.call({}).items() if count})


def worker(service, queue):
    """The pool's worker behind the queue in RabbitMQ."""
    [source] = [source for source in service.sources if source.name.endswith("shared-async")]
    return EventSource(queue, source.function, name=source.name)


def test_a_job_is_accepted_without_the_broker_and_runs_once_it_is_back(
    rabbitmq, names, service, broker
):
    queue = broker.queue(names["lane"])
    source = worker(service, queue)
    accepted = service.request("POST", "/v2/jobs", body=JOB)
    assert accepted.status == 202
    wait_for(source.poll, what="a job runs while the broker is there")

    rabbitmq.kill()
    refused = [service.request("POST", "/v2/jobs", body=JOB) for _ in range(3)]
    assert [answer.status for answer in refused] == [202] * 3
    assert sweep(service, names, after_s=30) == {"not_confirmed": 3}
    rabbitmq.start()
    assert sweep(service, names, after_s=60) == {"sent": 3}
    assert sweep(service, names, after_s=60) == {}

    keys = [JobKey("default", answer.json()["id"]) for answer in (accepted, *refused)]
    store = DynamoJobStore(
        service.resources.dynamodb, table=service.resources.jobs_table, clock=system_clock
    )

    def rows():
        _poll(source)
        return [store.get(key) for key in keys]

    wait_for(lambda: all(row.status == "succeeded" for row in rows()), what="every job runs")
    wait_for(lambda: (_poll(source), queue.depth())[1] == 0, what="no message is left")
    assert [row.attempt for row in rows()] == [1] * 4


def _poll(source):
    """Deliver what is there. A message that was acknowledged as the broker died comes once more."""
    with contextlib.suppress(QueueUnavailableError):
        source.poll()
