"""Real processes of the long-lived worker, on a pool of the queue lane, that are killed or stand still."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from shared.queues.rabbitmq import AmqpSettings, RabbitBroker
from shared.settings.jobs import WorkerSettings
from tests.faults.cases import entered, hold, let_go, outcomes, submit, wait_settled
from tests.faults.stage import PROJECT, VISIBILITY_S, Child, Stage, wait_for

LEASE_S = 3.0
DRAIN_S = 20.0


class LongStage(Stage):
    """A stage whose worker is `python -m gpu_workers`, on SQS or on a broker."""

    broker = None

    def use_broker(self, private):
        """Carry the jobs over RabbitMQ, as the stage's functions and its worker are told."""
        names = {kind: f"{self.table}-{kind}" for kind in ("async", "batch")}
        self.broker = RabbitBroker(AmqpSettings(url=private.url))
        self.broker.declare(sorted(names.values()))
        self.broker_url = private.url
        self.names = names
        queues = {("shared", kind): self.broker.queue(name) for kind, name in names.items()}
        self.queue = queues["shared", "async"]
        self.dead = self.broker.dead_letters(names["async"])
        self.jobs._queues = queues

    def start_long(self, **changed):
        """Start a worker; it is ready when it says that it has started."""
        told = self.worker_settings
        carried = {"queues": told.queues, "dead_letters": told.dead_letters}
        if self.broker is not None:
            carried = {"queues": {"shared": self.names}, "amqp_url": self.broker_url}
        settings = WorkerSettings(
            stage=told.stage,
            pool=told.pool,
            jobs_table=told.jobs_table,
            bucket=told.bucket,
            **carried,
            webhooks_queue=told.webhooks_queue,
            models=str(self.package),
            lease_s=LEASE_S,
            drain_s=DRAIN_S,
            run_threads=1,
            threads=8,
            health_port=0,
        )
        log = self.folder / "logs" / f"long-{len(self.children)}.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("wb") as output:
            popen = subprocess.Popen(
                [sys.executable, "-m", "gpu_workers"],
                env=self.environment(**{**settings.to_env(), **changed, "PYTHONPATH": PROJECT}),
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        child = Child("worker", log, popen)
        self.children.append(child)
        return child


def ready(worker):
    return worker.said('"message":"started"')


@pytest.fixture
def stage(tmp_path, fault_models, aws):
    stage = LongStage(tmp_path, fault_models, aws)
    try:
        yield stage
    finally:
        stage.stop()


@pytest.fixture(params=["sqs", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def carried(request, stage):
    """The stage, its jobs carried by each of the brokers."""
    if request.param == "sqs":
        yield stage
        return
    stage.use_broker(request.getfixturevalue("rabbitmq"))
    with stage.broker:
        yield stage


@pytest.fixture
def carried_in_full(carried):
    """The same; over RabbitMQ as a part of `make test-faults`."""
    if carried.broker is not None and "LANEWAY_FAULT_JOBS" not in os.environ:
        pytest.skip("a part of `make test-faults`")
    return carried


def start_held(stage):
    worker = stage.start_long()
    hold(stage, worker)
    wait_for(lambda: ready(worker), what="the worker is ready")
    return worker


def test_what_a_killed_worker_had_in_hand_comes_again_and_what_it_published_does_not(carried):
    stage = carried
    worker = start_held(stage)
    done = [submit(stage, [float(n), 1.0]) for n in range(3)]
    wait_for(
        lambda: all(stage.row(key).status == "succeeded" for key in done),
        what="the three are published",
        timeout_s=20,
    )
    held = [submit(stage, [float(n), 2.0], model="slow") for n in range(4)]
    wait_for(lambda: entered(stage, worker), what="the worker is in the slow jobs")

    worker.kill()
    killed_at = time.monotonic()
    stage.start_long()

    assert wait_settled(stage, [*done, *held]) == {"succeeded": 7}
    assert time.monotonic() - killed_at < LEASE_S + VISIBILITY_S + 20
    assert {stage.row(key).fence for key in done} == {1}
    assert {stage.row(key).attempt for key in held} <= {1, 2}
    answers = [json.loads(stage.result(stage.row(key)))["outputs"][0]["data"] for key in held]
    assert answers == [[2.0 * n, 4.0] for n in range(4)]


def test_a_worker_that_stood_still_past_its_lease_publishes_nothing(carried_in_full):
    stage = carried_in_full
    zombie = start_held(stage)
    key = submit(stage, [3.0, 4.0], model="slow")
    wait_for(lambda: entered(stage, zombie), what="the first worker is in the job")
    zombie.signal(signal.SIGSTOP)
    let_go(stage, zombie)
    stage.start_long()
    wait_for(
        lambda: stage.row(key).status == "succeeded",
        what="another worker takes over",
        timeout_s=60,  # a broker gives a silent connection up after two heartbeats
    )
    published = stage.row(key)

    zombie.signal(signal.SIGCONT)

    wait_for(lambda: zombie.said('"outcome":"lost"'), what="the first worker ends its run")
    wait_settled(stage, [key])
    assert stage.row(key).result == published.result
    assert published.attempt == 2
    assert sorted(outcomes(stage, key)) == ["lost", "succeeded"]


def test_a_job_that_kills_every_worker_fails_alone_and_the_others_succeed(carried_in_full):
    stage = carried_in_full
    deadly = submit(stage, [-1.0, 1.0], model="deadly")
    others = [submit(stage, [float(n), 1.0]) for n in range(6)]
    worker, deaths = stage.start_long(), 0
    end = time.monotonic() + 90
    while stage.row(deadly).finished_at is None:
        assert time.monotonic() < end, worker.end()
        if not worker.running():
            deaths += 1
            worker = stage.start_long()
        time.sleep(0.1)

    assert wait_settled(stage, [deadly, *others]) == {"succeeded": 6, "failed": 1}
    assert stage.row(deadly).failure.code == "attempts_exhausted"
    assert deaths == 3
    assert max(stage.row(key).attempt for key in others) <= 2


def test_a_worker_that_is_told_to_end_publishes_what_it_runs_and_gives_back_the_rest(
    carried_in_full,
):
    stage = carried_in_full
    worker = start_held(stage)
    key = submit(stage, [3.0, 4.0], model="slow")
    wait_for(lambda: entered(stage, worker), what="the worker is in the job")

    worker.signal(signal.SIGTERM)
    let_go(stage, worker)

    assert worker.popen.wait(DRAIN_S) == 0
    row = stage.row(key)
    assert (row.status, row.attempt) == ("succeeded", 1)
    assert worker.said('"drain_ms"')


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"DEVICE": "cuda:0"}, "CUDAExecutionProvider"),
        ({"QUEUES": '{"other": {}}'}, "no queue of pool 'shared'"),
        ({"MODELS": "/nowhere"}, "catalog.json"),
        ({"LEASE_S": "soon"}, "LEASE_S"),
    ],
)
def test_a_worker_that_cannot_start_says_why_and_ends_with_two(stage, change, says):
    worker = stage.start_long(**change)
    assert worker.popen.wait(30) == 2
    assert says in worker.end()
    assert "Traceback" not in worker.end()
