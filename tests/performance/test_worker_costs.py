"""What a job costs the long-lived worker, counted: calls of its stores and queue, and work for each job alone."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import replace

import pytest

from shared.jobs.facts import MemoryReporter
from shared.queues.memory import MemoryQueue
from shared.results.memory import MemoryJobStore
from tests.fixtures.worker_desk import POOL, WorkerDesk, write_heavy_models

JOBS = 64
WRITES = ("claim", "extend", "release", "succeed", "fail", "admit")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_heavy_models(tmp_path_factory.mktemp("heavy") / "models")


class CountingStore(MemoryJobStore):
    """Counts its writes."""

    def __init__(self, calls):
        super().__init__(clock=time.time)
        self._calls = calls

    def __getattribute__(self, name):
        if name in WRITES:
            self._calls[name] += 1
        return super().__getattribute__(name)


class CountingQueue(MemoryQueue):
    """Counts how it is told of the ends of messages."""

    def __init__(self, calls):
        super().__init__(clock=time.time)
        self._calls = calls

    def acknowledge_many(self, deliveries):
        self._calls["acknowledge_many"] += 1
        self._calls["acknowledged"] += len(deliveries)
        super().acknowledge_many(deliveries)


class CountingReporter(MemoryReporter):
    """Counts how it is told of jobs."""

    def __init__(self, calls):
        super().__init__()
        self._calls = calls

    def ended(self, facts):
        self._calls["ended"] += 1
        super().ended(facts)


def flat(number):
    """A request as most are: numbers in one list, with an id."""
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [float(number), 0.5]}
    return json.dumps({"id": f"r{number}", "inputs": [tensor]}).encode()


@pytest.fixture
def calls():
    return Counter()


@pytest.fixture
def desk(models, calls):
    desk = WorkerDesk(models, store=CountingStore(calls))
    desk.queues[POOL, "async"] = CountingQueue(calls)
    desk.reporter = CountingReporter(calls)
    return desk


def worker_of(desk, calls):
    """A worker that counts the requests that it has to judge one by one."""
    made = desk.make()
    worker = made.core.worker

    def validate(parsed):
        calls["validate"] += 1
        return worker.validate(parsed)

    made.core.worker = replace(worker, validate=validate)
    return made


def test_a_job_costs_two_writes_and_its_share_of_what_is_done_for_a_stack(desk, calls):
    keys = [desk.submit(flat(number)) for number in range(JOBS)]

    with desk.running(worker_of(desk, calls)):
        desk.wait_ended(keys)
        desk.check_settled(keys)

    assert {name: calls[name] for name in WRITES if calls[name]} == {"claim": JOBS, "succeed": JOBS}
    assert calls["acknowledged"] == JOBS
    assert calls["validate"] == 0
    stacks = sum(1 / desk.row(key).facts.rows_stacked for key in keys)
    assert stacks < JOBS / 2
    assert calls["ended"] == calls["acknowledge_many"] == round(stacks)


def test_an_odd_request_costs_its_neighbours_nothing(desk, calls):
    keys = [desk.submit(flat(number)) for number in range(JOBS)]
    odd = json.loads(flat(7))
    odd["inputs"][0]["data"] = [[7.0, 0.5]]
    keys.append(desk.submit(json.dumps(odd).encode()))

    with desk.running(worker_of(desk, calls)):
        desk.wait_ended(keys)

    assert calls["validate"] == 1
    assert desk.values(keys[-1]) == desk.values(keys[7])
