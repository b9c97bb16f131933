"""A simulated fleet: jobs arrive, workers take minutes to start and are taken away, `desired` decides.

Modelled: the queue's count lags behind, the scaler looks every minute and when a submit wakes it, a worker
is paid for from its launch, an interrupted one hands its job back uncharged and is replaced, and a worker
that has a job is protected. Not modelled: stacking, more than one class, launches that fail.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from functions.fleet_scaler.desired import Decision, Rules, Seen, desired

LOOK_EVERY_S = 60
WAKE_EVERY_S = 20
COUNT_LAG_S = 30


@dataclass(frozen=True, kw_only=True)
class World:
    """What happens to the fleet; all of it follows from the seed."""

    arrivals: Mapping[int, int]
    """Jobs by the second in which they are submitted."""
    length_s: int
    job_s: int = 2
    startup_s: tuple[int, int] = (180, 300)
    interruptions_per_hour: float = 0.0
    """Of each worker."""
    wakes: bool = True
    seed: int = 1


@dataclass
class Worker:
    """One instance with its worker."""

    paid_from: int
    ready_at: int
    job: int | None = None
    """When the job that it runs was submitted."""
    done_at: int = 0


@dataclass
class Course:
    """What came of it."""

    waits_s: list[int] = field(default_factory=list)
    """From submit to the start of the run that ended, by job."""
    paid_s: int = 0
    """Of all workers, from launch to end."""
    worked_s: int = 0
    interrupted: int = 0
    left: int = 0
    """Jobs that were not done in the end."""
    stopped_busy: int = 0
    """Workers that the scaler stopped while they had a job."""
    in_while_seen: int = 0
    """Decisions to shrink although the look saw something to do."""
    samples: list[tuple[int, int, int, int]] = field(default_factory=list)
    """By minute: second, backlog, desired, ready workers."""

    def wait_s(self, share: float) -> int:
        """The wait that this share of the jobs did not exceed."""
        ordered = sorted(self.waits_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def simulate(world: World, rules: Rules) -> Course:
    """Run the fleet to the end of the world."""
    return _Fleet(world, rules).run()


class _Fleet:
    def __init__(self, world: World, rules: Rules) -> None:
        self._world, self._rules = world, rules
        self._random = random.Random(world.seed)  # noqa: S311 - a simulation
        self._queue: deque[int] = deque()
        self._workers: list[Worker] = []
        self._course = Course()
        self._decision = Decision(workers=0, idle_since=None)
        self._counted: deque[int] = deque([0] * COUNT_LAG_S)
        self._woken_at = -WAKE_EVERY_S

    def run(self) -> Course:
        for now in range(self._world.length_s):
            self._arrive(now)
            self._interrupt(now)
            self._work(now)
            if now % LOOK_EVERY_S == 0:
                self._look(now, woken=False)
                self._sample(now)
            self._meet_the_decision(now)
            self._counted.append(len(self._queue) + self._busy)
            self._counted.popleft()
        self._course.paid_s += sum(self._world.length_s - w.paid_from for w in self._workers)
        self._course.left = len(self._queue) + self._busy
        return self._course

    @property
    def _busy(self) -> int:
        return sum(worker.job is not None for worker in self._workers)

    def _arrive(self, now: int) -> None:
        count = self._world.arrivals.get(now, 0)
        self._queue.extend([now] * count)
        if count and self._world.wakes and now - self._woken_at >= WAKE_EVERY_S:
            self._woken_at = now
            self._look(now, woken=True)

    def _look(self, now: int, *, woken: bool) -> None:
        seen = Seen(depths={"async": self._counted[0]}, woken=woken, workers=self._decision.workers)
        before = self._decision
        self._decision = desired(seen, self._rules, idle_since=before.idle_since, now=now)
        shrinks = self._decision.workers < before.workers
        self._course.in_while_seen += int(shrinks and seen.backlog > 0)

    def _meet_the_decision(self, now: int) -> None:
        """As the service and its capacity provider do: protected workers stay."""
        for worker in [w for w in self._workers if w.job is None]:
            if len(self._workers) > self._decision.workers:
                self._end(worker, now)
        while len(self._workers) < self._decision.workers:
            ready_at = now + self._random.randint(*self._world.startup_s)
            self._workers.append(Worker(paid_from=now, ready_at=ready_at))

    def _end(self, worker: Worker, now: int) -> None:
        self._course.stopped_busy += int(worker.job is not None)
        self._course.paid_s += now - worker.paid_from
        self._workers.remove(worker)

    def _interrupt(self, now: int) -> None:
        chance = self._world.interruptions_per_hour / 3600
        for worker in [w for w in self._workers if self._random.random() < chance]:
            if worker.job is not None:
                self._queue.appendleft(worker.job)
                worker.job = None
            self._course.interrupted += 1
            self._end(worker, now)

    def _work(self, now: int) -> None:
        for worker in self._workers:
            if worker.job is not None and worker.done_at <= now:
                self._course.waits_s.append(worker.done_at - self._world.job_s - worker.job)
                self._course.worked_s += self._world.job_s
                worker.job = None
            if worker.job is None and worker.ready_at <= now and self._queue:
                worker.job = self._queue.popleft()
                worker.done_at = now + self._world.job_s

    def _sample(self, now: int) -> None:
        ready = sum(worker.ready_at <= now for worker in self._workers)
        backlog = len(self._queue) + self._busy
        self._course.samples.append((now, backlog, self._decision.workers, ready))


def steady(per_minute: Sequence[float], *, seed: int = 7) -> dict[int, int]:
    """Arrivals at a rate for each hour in turn, at random within it."""
    chance = random.Random(seed)  # noqa: S311 - a simulation
    found: dict[int, int] = {}
    for hour, rate in enumerate(per_minute):
        for second in range(hour * 3600, (hour + 1) * 3600):
            count = sum(chance.random() < rate / 600 for _ in range(10))
            if count:
                found[second] = count
    return found
