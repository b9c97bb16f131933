"""The long-lived worker under a flood of one tenant: what another waits, on a first-in-first-out queue."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from gpu_workers.fairness import Fairness
from shared.jobs.messages import reference
from shared.jobs.submission import Submission
from shared.queues.memory import MemoryQueue
from shared.results.store import JobKey
from tests.fixtures.job_desk import tensor_body
from tests.fixtures.job_rows import ManualClock
from tests.fixtures.worker_desk import wait_for

AWAY_S = 1.0
FLOOD = 10_000
QUIET = 20
TURNS = 600.0
"""Of the flood's loops: some milliseconds each."""


def submit(desk, tenant, turns):
    submission = Submission(model="loop", body=tensor_body([turns]))
    return desk.jobs.submit(submission, tenant=tenant).row.key


def quiet_p95_s(desk):
    """Of the waits of jobs that come one after the other; the first waits until a flood is sent away."""
    waits = []
    for _ in range(QUIET):
        key = submit(desk, "quiet", 1.0)
        wait_for(lambda key=key: desk.row(key).finished_at)
        row = desk.row(key)
        waits.append(row.started_at - row.created_at)
    return sorted(waits)[math.ceil(QUIET * 0.95) - 1]


def test_a_quiet_tenant_s_jobs_hardly_wait_for_a_flood(desk):
    with desk.running(desk.make(tenant_share=0.5)):
        alone_s = quiet_p95_s(desk)
        flood = [submit(desk, "noisy", TURNS) for _ in range(FLOOD)]

        flooded_s = quiet_p95_s(desk)

        assert desk.depth() > FLOOD // 10, "the flood is not over"
    assert flooded_s <= 2 * alone_s + 1
    assert desk.dead.depth() == 0
    attempts = {desk.row(key).attempt for key in flood}
    assert attempts <= {0, 1}


def test_of_what_waits_one_tenant_has_its_share_and_the_rest_goes_back(desk):
    core = desk.make(tenant_share=0.5).core
    for _ in range(10):
        submit(desk, "noisy", 1.0)
    submit(desk, "quiet", 1.0)
    found = core.queues["async"].receive(limit=20, wait_s=0)

    admitted = core.fairness.admitted("async", found, ahead=8)

    assert [delivery.tenant for delivery in admitted] == ["noisy"] * 4 + ["quiet"]
    held = core.hold("async", admitted)
    assert core.fairness.admitted("async", found[:1], ahead=8) == []
    core.hand.start(held[:1])
    assert core.fairness.admitted("async", found[:1], ahead=8) == found[:1]


def test_what_is_dropped_before_it_ran_gives_its_place_back_too(desk):
    core = desk.make(tenant_share=0.5).core
    for _ in range(4):
        submit(desk, "noisy", 1.0)
    found = core.queues["async"].receive(limit=20, wait_s=0)
    held = core.hold("async", core.fairness.admitted("async", found, ahead=4))
    assert len(held) == 2

    core.hand.drop(held)

    assert len(core.fairness.admitted("async", found[2:], ahead=4)) == 2


class FarQueue(MemoryQueue):
    """Its messages take time to be sent away, as over a broker that confirms each."""

    def __init__(self, monotonic):
        super().__init__(clock=lambda: 1000.0)
        self._monotonic = monotonic

    def hand_back(self, delivery, *, delay_s=0):
        self._monotonic.advance(AWAY_S)
        super().hand_back(delivery, delay_s=delay_s)


@pytest.mark.parametrize(("run_s", "admitted"), [(AWAY_S / 20, 8), (AWAY_S / 2, 4)])
def test_nothing_is_sent_away_that_is_gone_many_times_sooner_when_it_runs(desk, run_s, admitted):
    monotonic = ManualClock(50.0)
    queue = FarQueue(monotonic)
    worker = desk.make().core.worker
    worker = replace(worker, queues={(worker.pool, "async"): queue})
    fairness = Fairness(worker, share=0.5, monotonic=monotonic)
    for number in range(20):
        queue.send(reference(JobKey("noisy", f"j{number}")), tenant="noisy")

    def admit():
        return fairness.admitted("async", queue.receive(limit=10, wait_s=0), ahead=8)

    first = admit()
    assert len(first) == 4
    fairness.ran("async", job_s=run_s)

    for delivery in first:
        fairness.leave(fairness.entered("async", delivery))
    assert len(admit()) == admitted
