"""The long-lived worker under a flood of one tenant: what another waits, on a first-in-first-out queue."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from gpu_workers.fairness import LEAST_S, TRUST, Crowd, Fairness
from gpu_workers.looks import Looks
from shared.jobs.messages import reference
from shared.jobs.submission import Submission
from shared.limiting.shares import EAGER
from shared.queues.memory import MemoryQueue
from shared.queues.protocol import Message
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
        flood = [submit(desk, "noisy", TURNS) for _ in range(FLOOD // 10)]

        flooded_s = quiet_p95_s(desk)

        assert desk.depth() > FLOOD // 100, "the flood is not over"
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


TICK_S = 0.003
LOOK_S = 0.003
"""To receive some messages and to send them away."""


class PromptQueue(MemoryQueue):
    """Hands back for parts of a second too, as RabbitMQ does."""

    def hand_back(self, delivery, *, delay_s=0):
        self.extend(delivery, visibility_s=delay_s)


class Simulated:
    """A worker's receiver, hand and device in virtual time, over a first-in-first-out queue."""

    def __init__(self, desk, *, stack, run_s):
        self.stack, self.run_s = stack, run_s
        self.clock = ManualClock(1000.0)
        self.queue = PromptQueue(clock=self.clock, visibility_s=1e6, max_receives=1000)
        worker = desk.make().core.worker
        worker = replace(worker, queues={(worker.pool, "async"): self.queue}, clock=self.clock)
        self.fairness = Fairness(worker, share=0.8, monotonic=self.clock)
        self.looks = Looks(clock=self.clock, monotonic=self.clock)
        self.waiting = []
        self.received = 0
        self.quiet_waits_s = []
        self.free_at = self.look_at = 0.0

    def send(self, tenant, jobs=1):
        body = reference(JobKey(tenant, "j"))
        self.queue.send_many([Message(body=body, tenant=tenant) for _ in range(jobs)])

    def tick(self):
        if self.waiting and self.clock() >= self.free_at:
            self.free_at = self.clock() + self.run()
        ahead, waiting = 3 * self.stack, len(self.waiting)
        if self.clock() >= self.look_at and waiting < ahead:
            room = self.looks.limit(ahead - waiting, waiting=waiting)
            found = self.queue.receive(limit=room, wait_s=0) if room else []
            if found:
                self.look(found, ahead)
        self.clock.advance(TICK_S)

    def run(self):
        stack, self.waiting = self.waiting[: self.stack], self.waiting[self.stack :]
        for delivery, crowd in stack:
            self.fairness.leave(crowd)
            if delivery.tenant == "quiet":
                self.quiet_waits_s.append(self.clock() - delivery.sent_at)
        self.queue.acknowledge_many([delivery for delivery, _ in stack])
        return self.run_s * (0.3 + 0.7 * len(stack) / self.stack)

    def look(self, found, ahead):
        self.received += len(found)
        admitted = self.fairness.admitted("async", found, ahead=ahead)
        if turned := len(found) - len(admitted):
            new = [delivery.sent_at for delivery in found if delivery.receive_count == 1]
            waiting = len(self.waiting) + len(admitted)
            self.looks.turned_away(turned, waiting=waiting, sent_at=max(new, default=None))
        for delivery in admitted:
            self.waiting.append((delivery, self.fairness.entered("async", delivery)))
        self.look_at = self.clock() + LOOK_S * len(found) / 20


@pytest.mark.parametrize(("stack", "run_s"), [(32, 0.06), (6, 0.12)])
def test_a_tenant_that_is_alone_keeps_the_worker_busy_with_its_share(desk, stack, run_s):
    jobs = 2000
    alone = Simulated(desk, stack=stack, run_s=run_s)
    alone.send("noisy", jobs)

    while alone.queue.depth():
        alone.tick()

    assert alone.clock() - 1000.0 < 1.15 * jobs / stack * run_s
    assert alone.received < 4 * jobs, "each is sent away a few times, not over and over"


def quiet_waits_s(worker, *, seconds):
    """Of a job each half second, while a flood is kept up by 500 jobs a second where there is one."""
    flooded = worker.queue.depth() > 0
    worker.quiet_waits_s.clear()
    for _ in range(2 * seconds):
        worker.send("quiet")
        until = worker.clock() + 0.5
        while worker.clock() < until:
            if flooded and worker.queue.depth() < FLOOD:
                worker.send("noisy", 5)
            worker.tick()
    return sorted(worker.quiet_waits_s)


def test_a_flood_that_grows_as_fast_as_a_stage_lets_it_keeps_nobody_waiting(desk):
    worker = Simulated(desk, stack=6, run_s=0.12)
    alone = quiet_waits_s(worker, seconds=10)
    while worker.queue.depth() < FLOOD:
        worker.send("noisy", 3)
        for _ in range(2):
            worker.tick()

    flooded = quiet_waits_s(worker, seconds=20)

    assert len(flooded) >= 39
    assert flooded[37] <= 2 * alone[18] + 1, "p95, with 10,000 queued"


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
