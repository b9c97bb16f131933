"""The long-lived worker under a flood of one tenant: what another waits, on a first-in-first-out queue."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from gpu_workers.fairness import LEAST_S, TRUST, Crowd, Fairness
from shared.jobs.messages import reference
from shared.jobs.submission import Submission
from shared.limiting.shares import EAGER
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


STACK = 32
RUN_S = 0.06
LOOK_S = 0.003
"""To receive some messages and to send them away."""


class PromptQueue(MemoryQueue):
    """Hands back for parts of a second too, as RabbitMQ does."""

    def hand_back(self, delivery, *, delay_s=0):
        self.extend(delivery, visibility_s=delay_s)


class Alone:
    """A worker's queue, hand and device, in virtual time, with jobs of one tenant."""

    def __init__(self, desk, *, jobs):
        self.clock = ManualClock(1000.0)
        self.queue = PromptQueue(clock=self.clock, visibility_s=1e6, max_receives=100)
        worker = desk.make().core.worker
        worker = replace(worker, queues={(worker.pool, "async"): self.queue}, clock=self.clock)
        self.fairness = Fairness(worker, share=0.8, monotonic=self.clock)
        self.waiting = []
        self.received = 0
        for number in range(jobs):
            self.queue.send(reference(JobKey("noisy", f"j{number}")), tenant="noisy")

    def work_off(self):
        """Seconds until the queue is empty."""
        began, free_at, look_at = self.clock(), 0.0, 0.0
        while self.queue.depth():
            if self.waiting and self.clock() >= free_at:
                free_at = self.clock() + self.run()
            if len(self.waiting) < 3 * STACK and self.clock() >= look_at:
                look_at = self.clock() + self.look()
            self.clock.advance(LOOK_S)
        return self.clock() - began

    def run(self):
        stack, self.waiting = self.waiting[:STACK], self.waiting[STACK:]
        for _, crowd in stack:
            self.fairness.leave(crowd)
        self.queue.acknowledge_many([delivery for delivery, _ in stack])
        return RUN_S * (0.3 + 0.7 * len(stack) / STACK)

    def look(self):
        found = self.queue.receive(limit=3 * STACK - len(self.waiting), wait_s=0)
        self.received += len(found)
        for delivery in self.fairness.admitted("async", found, ahead=3 * STACK):
            self.waiting.append((delivery, self.fairness.entered("async", delivery)))
        return LOOK_S * len(found) / 20


def test_a_tenant_that_is_alone_keeps_the_worker_busy_with_its_share(desk):
    jobs = 2000
    alone = Alone(desk, jobs=jobs)

    took_s = alone.work_off()

    assert took_s < 1.1 * jobs / STACK * RUN_S
    assert alone.received < 4 * jobs, "each is sent away a few times, not over and over"


def seen_at_ten_a_second(crowd):
    crowd.join(20)
    crowd.away_s(1, now=0.0, now_s=100.0)
    for number in range(10):
        crowd.leave(100.1 + 0.1 * number)


def test_places_are_given_out_no_further_ahead_than_the_pace_is_known():
    crowd = Crowd()
    seen_at_ten_a_second(crowd)

    places_s = crowd.away_s(100, now=0.0, now_s=101.0)

    assert places_s[11] == pytest.approx(12 / (10 * EAGER))
    assert 0.89 * TRUST <= places_s[-1] <= 1.81 * TRUST, "nine tenths of a second were seen"
    again = crowd.away_s(12, now=TRUST, now_s=101.0 + TRUST)
    assert again[-1] == pytest.approx(12 / (10 * EAGER)), "they were not in the line"


def test_a_pace_is_not_held_against_a_tenant_whose_jobs_were_away():
    crowd = Crowd()
    seen_at_ten_a_second(crowd)
    for _ in range(10):
        crowd.leave(101.0)
    crowd.join(10)
    for number in range(10):
        crowd.leave(105.05 + 0.1 * number)

    *_, place_s = crowd.away_s(12, now=20.0, now_s=106.0)

    assert place_s <= 12 / (10 * EAGER)


def test_a_pace_is_forgotten_after_a_while():
    crowd = Crowd()
    seen_at_ten_a_second(crowd)
    crowd.away_s(1000, now=0.0, now_s=101.0)

    assert crowd.away_s(1, now=20.0, now_s=121.0) == [LEAST_S]


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
