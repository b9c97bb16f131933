"""The device's thread: runs stack after stack, and hands what came of them to the publishers.

It does nothing else, so that the device waits for nobody: what it runs is ready, and what it ran is
published by others. Jobs that were tried before run here alone, from their claim to their end, when
no other job is claimed.
"""

from __future__ import annotations

import math
import queue
import time
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple

from shared.errors import LanewayError, UnavailableError
from shared.inference.deadline import WATCHDOG
from shared.inference.memory import recover
from shared.jobs.columns import write_endings
from shared.jobs.delivery import Retry, jitter_s
from shared.jobs.steps import Ran, load_inputs, prepare_all, run_stack, use_model
from shared.jobs.taking import Taking
from shared.jobs.work import Lease, Trouble, Work

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpu_workers.backlog import Stack
    from gpu_workers.core import Core
    from gpu_workers.hand import Held
    from shared.inference.deadline import Watch
    from shared.inference.pipeline import ServedModel
    from shared.jobs.columns import Ways

PUBLISH_AHEAD: Final = 3
"""Stacks that have run and wait to be published, before the device waits for that."""
IDLE_S: Final = 0.5
AGAIN_EVERY_S: Final = 2.0
"""How often everything else stops for jobs that were tried before, while there is other work."""
AGAIN_S: Final = 1.0
"""How long they may keep everything else waiting, but for the run that is on."""
CHUNK_MARGIN_S: Final = 30.0
"""A chunk's lease outlives the time that its run has: no heartbeat extends it."""


class Done(NamedTuple):
    """A stack that has run; the members of `ran` are those of `held`, in order."""

    held: list[Held]
    served: ServedModel
    ways: Ways
    ran: Ran


class Busy:
    """Seconds in which the device ran something, since it was last asked."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._busy_s = 0.0
        self._since_s = time.monotonic()

    def add(self, seconds: float) -> None:
        """It ran for so long."""
        with self._lock:
            self._busy_s += seconds

    def fraction(self) -> float:
        """Of the time since the last call."""
        with self._lock:
            now_s = time.monotonic()
            fraction = self._busy_s / max(1e-9, now_s - self._since_s)
            self._busy_s, self._since_s = 0.0, now_s
            return min(1.0, fraction)


class Device:
    """Runs what the backlog gives. `limit_s` is the monotonic time at which everything stops."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.done: queue.Queue[Done | None] = queue.Queue(PUBLISH_AHEAD)
        self.busy = Busy()
        self.limit_s = math.inf
        self._stopped = core.stopped
        self._lock = Lock()
        self._watch: Watch | None = None
        self._current: Sequence[Held] = ()
        self._again_s = 0.0

    def run(self) -> None:
        """Until the worker drains and nothing is left, or it is stopped."""
        core = self._core
        self._watch = WATCHDOG.watch()
        while not self._stopped.is_set():
            if core.again and self._is_time_for_again():
                self._run_again()
                continue
            stack = core.backlog.next(IDLE_S)
            if stack:
                self._run_stack(stack)
            elif not len(core.hand):
                if core.draining.is_set():
                    return
                # By then whoever published the last of them holds nothing of it any more.
                if core.worker.sessions.spent and not core.draining.wait(IDLE_S):
                    recover(core.worker.sessions)

    def stop(self) -> None:
        """End now: abort what runs, and run nothing more."""
        self._stopped.set()
        with self._lock:
            if self._current and self._watch is not None:
                self._watch.abort()
        self._core.wake()

    def lost(self, held: Held) -> None:
        """Stop a run of which every job is lost. Where others run beside it, only its result is dropped."""
        with self._lock:
            current = self._current
            if self._watch and held in current and all(item.lost for item in current):
                self._watch.abort()

    def _run_stack(self, stack: Stack) -> None:
        core = self._core
        lost = [item.held for item in stack if item.held.lost]
        if lost:  # while they waited: nothing runs without a lease
            core.settling.hand_back(lost)
            stack = [item for item in stack if item.held not in lost]
        if not stack:
            return
        held = [item.held for item in stack]
        core.hand.start(held)
        first = stack[0]
        if first.prepared is None:
            self._run_chunk(first.held)
        elif self._is_late(held):
            core.settling.hand_back(held)
        elif first.served is not None and first.ways is not None:
            members = [
                (item.held.work, item.prepared)
                for item in stack
                if item.held.work is not None and item.prepared is not None
            ]
            started_s = time.monotonic()
            with self._running(held):
                ran = run_stack(core.worker, first.ways.stacker, members, until_s=math.inf)
            self.busy.add(time.monotonic() - started_s)
            if self._was_stopped(ran):
                core.settling.hand_back(held)
                return
            core.paces.note(members[0][0].model, ran.took_s)
            self._note_size(stack, ran)
            core.fairness.ran(first.held.queue, job_s=ran.took_s / len(held))
            if ran.apart and not all(item.lost for item in held):
                for item in stack:
                    self._run_stack([item])
            else:
                self.done.put(Done(held, first.served, first.ways, ran))

    def _note_size(self, stack: Stack, ran: Ran) -> None:
        first = stack[0]
        if first.key is None or isinstance(ran.outputs, LanewayError):
            return
        rows = sum(item.rows for item in stack)
        cells = rows * max(item.cells for item in stack)
        self._core.sizes.note(
            first.key, rows=rows, cells=cells, took_s=ran.took_s, most=first.rows_max
        )

    def _is_late(self, held: Sequence[Held]) -> bool:
        """Whether a run would not end before the worker must."""
        work = held[0].work
        expected_s = 0.0 if work is None else self._core.paces.expect_s(work.model)
        return self._stopped.is_set() or time.monotonic() + expected_s > self.limit_s

    @contextmanager
    def _running(self, held: Sequence[Held]) -> Iterator[None]:
        """While these run, the run can be aborted."""
        with self._lock:
            self._current = held
            if self._stopped.is_set() and self._watch is not None:
                self._watch.abort()
        try:
            yield
        finally:
            with self._lock:
                self._current = ()
                if self._watch is not None and self._watch.aborted:
                    self._watch.allow()

    def _is_time_for_again(self) -> bool:
        """Whether nothing is claimed, and nothing is going to be. If the time has come, no more is received.

        Whoever claims says so before looking at the gate; it is closed here before that is looked at.
        """
        core = self._core
        is_idle = not core.hand.has_claims()
        if is_idle or time.monotonic() >= self._again_s:
            core.gate.clear()
        if is_idle and core.hand.has_claims():  # somebody began in between
            core.gate.set()
            return False
        return is_idle

    def _run_again(self) -> None:
        core = self._core
        until_s = time.monotonic() + AGAIN_S
        while core.again and not self._stopped.is_set():
            held = core.again.popleft()
            core.hand.start([held])
            if core.draining.is_set():
                core.settling.hand_back([held])
            else:
                self._run_alone(held)
            if time.monotonic() >= until_s:
                break
        self._again_s = time.monotonic() + AGAIN_EVERY_S
        core.gate.set()
        core.wake()

    def _run_alone(self, held: Held) -> None:
        """Claim, run and end one job, with nothing else in the process that a crash could take."""
        core = self._core
        lease = Lease(core.owner, core.worker.clock() + core.lease_s)
        taken = Taking(core.worker, queue=held.queue, lease=lease).take(0, held.delivery)
        if isinstance(taken, Work):
            held.work, held.until = taken, lease.until
            self._run_claimed(held, taken)
        else:
            outcome = Retry(jitter_s()) if isinstance(taken, Trouble) else taken
            core.settling.conclude([(held, outcome)])

    def _run_claimed(self, held: Held, work: Work) -> None:
        core = self._core
        loaded, failed = load_inputs(core.worker, [work])
        lease = use_model(core.worker, [work])
        if isinstance(lease, list):
            core.settling.fail([(held, error) for _, error in (*failed, *lease)][:1])
            return
        with lease as served:
            ready, refused = prepare_all(core.worker, served, loaded)
            if not ready:
                core.settling.fail([(held, error) for _, error in (*failed, *refused)])
                return
            ways = core.ways.of(core.worker.catalog.model(served.name), served)
            started_s = time.monotonic()
            with self._running([held]):
                ran = run_stack(core.worker, ways.stacker, ready, until_s=math.inf)
            self.busy.add(time.monotonic() - started_s)
            if self._was_stopped(ran):
                core.settling.hand_back([held])
            else:
                core.paces.note(work.model, ran.took_s)
                publish(core, Done([held], served, ways, ran), nullcontext())

    def _was_stopped(self, ran: Ran) -> bool:
        return self._stopped.is_set() and isinstance(ran.outputs, LanewayError)

    def _run_chunk(self, held: Held) -> None:
        core = self._core
        if core.chunks is None or core.draining.is_set():
            core.settling.hand_back([held])
            return
        until = core.worker.clock() + core.chunk_s + CHUNK_MARGIN_S
        started_s = core.chunk_started_s = time.monotonic()
        try:
            with self._running([held]):
                [outcome] = core.chunks.run_delivery(
                    [held.delivery],
                    lease=Lease(core.owner, until),
                    until_s=started_s + core.chunk_s,
                )
        except UnavailableError:
            core.outage.met()
            outcome = core.outage.retry()
        else:
            core.outage.over()
        self.busy.add(time.monotonic() - started_s)
        core.settling.conclude([(held, outcome)])


def publish(core: Core, done: Done, answering: AbstractContextManager[object]) -> None:
    """End the jobs of a stack that has run. `answering`: held while outputs become answers."""
    ran = done.ran
    if isinstance(ran.outputs, LanewayError):
        core.settling.fail([(held, ran.outputs) for held in done.held])
        return
    with answering:
        ended = write_endings(core.worker, done.served, done.ways.bulk, ran)
    core.settling.publish(
        [(held, ending) for held, (_, ending) in zip(done.held, ended, strict=True)]
    )
