"""Thousands of jobs over RabbitMQ while the broker and its long-lived workers are killed at random.

The jobs, the kills and the two variables are those of `test_storm`; the webhooks are left to it.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter

import pytest

from cli.testing.rabbitmq import PrivateBroker
from shared.errors import QueueUnavailableError
from shared.jobs.sweep import UNCONFIRMED_S
from tests.faults.process import say
from tests.faults.stage import wait_for
from tests.faults.storm import CANARY, Storm
from tests.faults.test_long_worker import LongStage, ready
from tests.faults.test_storm import (
    FULL,
    JOBS,
    JOBS_PER_KILL,
    SEED,
    SETTLED_S_MAX,
    WORKERS,
    Weather,
    check_ends,
    check_values,
    read_line,
    settled_rows,
)
from tests.fixtures.invariants import check_jobs, check_settled

pytestmark = pytest.mark.rabbitmq

WATCHED_S = max(30.0, UNCONFIRMED_S)
"""When the sweeper looks again at a lapsed job that it has sent (twice this stage's target of 15 s) or
could not send."""
BROKER_SHARE = 0.15
"""Of the kills; it takes seconds to come back each time, and jobs are accepted meanwhile."""


class StormStage(LongStage):
    """A stage whose every process is told of the broker."""

    def start(self, role, **variables):
        if role == "worker":
            child = self.start_long()
            child.ready = lambda: ready(child)
            return child
        carried = {
            "QUEUES": json.dumps({"shared": self.names}),
            "BROKER": "rabbitmq",
            "SEND_FUNCTION": "send",
            "AMQP_URL": self.broker_url,
            "CONSUMED": self.names["async"],
        }
        return super().start(role, **carried, **variables)


class BrokerWeather(Weather):
    """Kills the broker too, and that first."""

    def __init__(self, stage, storm, private):
        self.stage = stage
        self.storm = storm
        self.private = private
        self.chance = random.Random(storm.seed)  # noqa: S311  to be had again
        self.running = [stage.start("worker") for _ in range(WORKERS)]
        self.running.append(stage.start("sweeper"))
        self.submitter = self._submit(0)
        self.accepted = 0
        self.killed = Counter()

    def _kill_one(self):
        if self.killed["broker"] and self.chance.random() > BROKER_SHARE:
            super()._kill_one()
            return
        self.private.kill()
        self.killed["broker"] += 1
        check_jobs(self.stage.rows(), [], now=time.time(), watched_s=WATCHED_S)
        self.private.start()


@pytest.fixture
def private(tmp_path, rabbitmq):  # noqa: ARG001  it skips, or fails, where none is installed
    """A broker for this test alone, where one can be had."""
    with PrivateBroker(tmp_path / "broker") as private:
        yield private


@pytest.fixture
def stage(tmp_path, fault_models, aws, private):
    stage = StormStage(tmp_path, fault_models, aws)
    stage.use_broker(private)
    private.restart()  # a queue that is seconds old may be lost (docs/rabbitmq.md)
    try:
        with stage.broker:
            yield stage
    finally:
        stage.stop()


@pytest.mark.timeout(2400 if FULL else 280)
def test_every_job_ends_once_though_broker_and_workers_are_killed(stage, private):
    say(f"LANEWAY_FAULT_SEED={SEED} LANEWAY_FAULT_JOBS={JOBS}")
    storm = Storm(seed=SEED, count=JOBS, webhook="")
    began = time.monotonic()
    weather = BrokerWeather(stage, storm, private)

    weather.blow()
    blown_s = time.monotonic() - began
    rows = wait_for(
        lambda: settled(stage), what="every job ends", timeout_s=SETTLED_S_MAX, pause_s=1
    )

    kept = {plan.key: plan for plan in storm.plans}
    counts = check_settled(rows, kept, now=time.time(), queue_depth=stage.queue.depth())
    assert len(rows) == JOBS
    check_ends(rows, weather)
    alone = check_values(stage, rows, kept)
    check_logs(stage)
    say(f"{dict(counts)}; killed {dict(weather.killed)}; {alone} ran alone")
    say(f"accepted in {blown_s:.0f} s, settled in {time.monotonic() - began:.0f} s")
    assert weather.killed.total() >= JOBS // JOBS_PER_KILL // 2


def settled(stage):
    """As `settled_rows`; None while the broker does not answer."""
    try:
        return settled_rows(stage)
    except QueueUnavailableError:
        return None


def check_logs(stage):
    """No job's end was published twice, no message was put aside, nothing leaked."""
    worker = stage.logs("worker")
    ends = Counter()
    for line in worker.splitlines():
        said = read_line(line)
        if said.get("outcome") in ("succeeded", "failed"):
            ends[said["job_id"]] += 1
    assert [job for job, times in ends.items() if times > 1] == []
    assert stage.dead.depth() == 0
    everything = worker + stage.logs("sweeper")
    assert CANARY not in everything
    assert stage.broker_url not in everything
