"""A secret in any field reaches no log either where no caller looks: RabbitMQ and `send`, the scaler, chunks.

The fields are those of test_secret_canary.py. What a library warns of counts, and so does an exception that
leaves a handler: Lambda writes it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import traceback
from dataclasses import replace

import pika
import pytest

from cli.testing.lambdas import LocalFunction
from functions.fleet_scaler.service import FleetScaler
from functions.fleet_scaler.service import make_handler as make_scaler
from functions.send.broker import WarmBroker
from functions.send.service import make_handler as make_send
from gpu_workers.core import CHUNKS
from gpu_workers.telemetry import WorkerTelemetry
from shared.jobs.batches.run_chunk import ChunkRunner
from shared.settings.jobs import SendSettings
from shared.telemetry import Telemetry
from tests.fixtures.batch_desk import BatchDesk, line
from tests.fixtures.worker_desk import POOL, WorkerDesk, wait_for, write_heavy_models
from tests.flow.test_secret_canary import (
    BODIES,
    JOBS,
    LINES,
    REQUESTS,
    Asked,
    all_written,
    ask_submissions,
    marks,
    tensor,
)

GOOD = {"schema_version": 1, "model": "scale", "input": {"inputs": [tensor()]}}


@contextlib.contextmanager
def told_by_all():
    """What is written meanwhile, warnings of libraries too."""
    with all_written() as written:
        library = logging.StreamHandler(written)
        library.setLevel(logging.WARNING)
        logging.getLogger().addHandler(library)
        try:
            yield written
        finally:
            logging.getLogger().removeHandler(library)


def make_canaries():
    """A function that gives a new canary, and the list of those that it gave."""
    given = []

    def make():
        given.append(f"canary{len(given) + 100}zq")
        return given[-1]

    return make, given


def found_in(written, canaries):
    return {
        mark: next(line for line in written.splitlines() if mark in line)[:300]
        for canary in canaries
        for mark in marks(canary)
        if mark in written
    }


def sending(settings):
    """The function `send` with its own logger."""
    telemetry = Telemetry(service="laneway-send", stage="local", pool="send")
    warm = WarmBroker(settings, connect_secrets=pytest.fail)
    return warm, LocalFunction("send", make_send(settings, broker=warm, logger=telemetry.logger))


@pytest.mark.rabbitmq
def test_the_worker_on_rabbitmq_and_send_write_no_canary(carried_service, rabbitmq):
    carried_service.run_jobs()
    canary, given = make_canaries()
    queue = carried_service.carrier.queue("shared", "async")
    settings = SendSettings(
        stage="local", queues=carried_service.carrier.names, amqp_url=rabbitmq.url
    )
    warm, function = sending(settings)
    before = carried_service.lambdas.remove("send")
    asked = Asked(carried_service)

    with (
        told_by_all() as written,
        pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection,
    ):
        channel = connection.channel()

        def drop(body, **properties):
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            channel.basic_publish("", queue.name, body, pika.BasicProperties(**properties))

        for make in REQUESTS.values():
            drop({**GOOD, "input": make(canary())})
        for make in JOBS.values():
            drop({name: value for name, value in {**GOOD, **make(canary())}.items() if value})
        for make in BODIES.values():
            drop(make(canary()))
        drop(GOOD, headers={canary(): canary()}, message_id=f"../{canary()}", app_id=canary())
        drop(b"{", headers={canary(): canary()}, content_type=canary(), reply_to=canary())
        carried_service.lambdas.add(function)
        try:
            ask_submissions(asked)  # over HTTP, by way of `send`
            carried_service.run_jobs()
        finally:
            carried_service.lambdas.add(before)
            warm.close(5)

    given += [canary for canary, _ in asked.canaries.values()]
    lines = [json.loads(line) for line in written.getvalue().splitlines() if line[:1] == "{"]
    assert {"laneway-send", "laneway-worker"} <= {line["service"] for line in lines}
    assert {"succeeded", "failed"} <= {line.get("outcome") for line in lines}
    assert len(given) > 90
    assert found_in(written.getvalue(), given) == {}


def test_send_tells_neither_what_it_was_given_nor_the_broker_s_password():
    canary, given = make_canaries()
    queues = {"shared": {"async": "any"}}
    urls = [
        f"amqp://{canary()}:{canary()}@127.0.0.1:9/{canary()}",
        f"amqps://user:{canary()}/@host/",  # no address of a broker
    ]
    message = {"queue": "shared/async", "body": canary(), "tenant": canary()}
    events = [
        {"messages": [{**message, "attributes": {canary(): canary()}}]},
        {"messages": [{**message, "queue": f"shared/{canary()}"}]},
        {"depths": [canary()]},
        {canary(): canary()},
    ]
    with told_by_all() as written:
        for url in urls:
            settings = SendSettings(
                stage="local", queues=queues, amqp_url=url, confirm_timeout_s=0.3
            )
            warm, function = sending(settings)
            for event in events:
                try:
                    function.call(event)
                except ValueError as error:
                    written.write("".join(traceback.format_exception(error)))
            warm.close()

    assert "not sent" in written.getvalue()
    assert found_in(written.getvalue(), given) == {}


def test_the_scaler_tells_nothing_of_why_a_task_ended():
    canary, given = make_canaries()
    logger = Telemetry(service="laneway-fleet-scaler", stage="local", pool="fleet").logger
    scaler = FleetScaler(rules={}, fleet=None, depths=None, leases=None, memory=None, clock=None)
    handler = make_scaler(scaler, stage="local", services={"heavy": "w"}, logger=logger)
    ended = {
        "group": "service:w",
        "lastStatus": "STOPPED",
        "stopCode": "EssentialContainerExited",
        "stoppedReason": canary(),
        "containers": [{"exitCode": 1, "reason": canary()}],
    }
    with told_by_all() as written:
        LocalFunction("scaler", handler).call(
            {"detail-type": "ECS Task State Change", "detail": ended}
        )

    assert '"worker_crashes":1' in written.getvalue()
    assert found_in(written.getvalue(), given) == {}


def test_the_long_lived_worker_writes_no_canary_of_a_chunk_s_lines(tmp_path):
    models = write_heavy_models(tmp_path / "models")
    canary, given = make_canaries()
    desk, batches = WorkerDesk(models), BatchDesk(models)
    telemetry = WorkerTelemetry(stage="dev", pool=POOL, worker="desk")
    rows = [line(0)]
    rows += [line(1, body=make(canary())) for make in REQUESTS.values()]
    rows += [line(2, **make(canary())) for make in LINES.values()]
    rows += [b"{" + canary().encode(), json.dumps([canary()]).encode()]

    with told_by_all() as written:
        worker = desk.make(more={CHUNKS: batches.chunks})
        core = worker.core
        core.chunks = ChunkRunner(
            replace(
                batches.worker,
                sessions=core.worker.sessions,
                monotonic=core.chunk_clock,
                stopped=core.stopped.is_set,
                told=telemetry.chunk,
                report=lambda error: telemetry.defect(error, None),
            )
        )
        batches.submit(b"\n".join(rows), metadata={"a": canary()})
        batches.step_split()
        with desk.running(worker):
            wait_for(lambda: batches.finish.depth() > 0)

    lines = [json.loads(told) for told in written.getvalue().splitlines() if told[:1] == "{"]
    assert any(told.get("chunk_lines", 0) > 10 for told in lines)
    assert found_in(written.getvalue(), given) == {}
