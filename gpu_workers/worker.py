"""The worker: threads that receive, run, publish and keep, from `run` until a drain has ended.

    receivers   one a queue: messages become jobs that are ready (`intake`)
    loader      loads models beside them
    device      runs stacks (`device`), in the order of the rota (`backlog`)
    publishers  end what has run (`settling`)
    heartbeat   extends messages and leases

A drain stops receiving at once, runs what ends in time, aborts the rest, and hands back what was not
done without charging its attempt.
"""

from __future__ import annotations

import math
import queue
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from gpu_workers.ahead import Ahead, Kind
from gpu_workers.core import CHUNKS
from gpu_workers.device import Device, publish
from gpu_workers.heartbeat import Heartbeat
from gpu_workers.intake import Intake, Receiver
from gpu_workers.loader import Loader
from shared.background import stay_in_background

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpu_workers.core import Core

PUBLISHERS: Final = 3
"""Stacks that are published at the same time; `postprocess` is called by one of them at a time."""
RESERVE_S: Final = 20.0
"""What a drain keeps of its time to hand back, publish and exit, a fifth of a short one."""
RESERVE_SHARE: Final = 0.2
SWITCH_S: Final = 0.0005
"""How long another thread may keep the device's from Python after a run; the default is ten times that."""
JOIN_S: Final = 5.0
JOIN_MIN_S: Final = 0.1
"""A thread is waited for so long where a drain's time is short, or over."""


class GpuWorker:
    """One process, one device, one pool."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.device = Device(core)
        self.failure: BaseException | None = None
        """The defect that ended the worker, if one did."""
        self._heartbeat = Heartbeat(core, self.device.lost)
        self.loader = Loader(core)
        self._intake = Intake(core, self.loader)
        self._ahead = Ahead(core.worker.catalog, self._kinds)
        self._answering = threading.Lock()
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._back_by_s = math.inf
        self._draining_s = self._ended_s = 0.0

    def ready(self) -> bool:
        """Whether the models that fit are loaded, and the worker takes jobs."""
        return self.core.warm.is_set() and not self.core.draining.is_set()

    def live(self) -> bool:
        """Whether no thread has ended by a defect."""
        return self.failure is None

    def drain(self, deadline_s: float) -> None:
        """Stop receiving now, and end within `deadline_s`. Returns at once.

        Again with a sooner deadline, the drain is tightened; a later one is ignored.
        """
        reserve_s = min(RESERVE_S, deadline_s * RESERVE_SHARE)
        limit_s = time.monotonic() + deadline_s - reserve_s
        with self._changed:
            self._draining_s = self._draining_s or time.monotonic()
            self.device.limit_s = min(self.device.limit_s, limit_s)
            self._back_by_s = min(self._back_by_s, limit_s + reserve_s / 2)
            self.core.draining.set()
            self._changed.notify_all()
        self.core.gate.set()
        self.core.wake()

    def drained_ms(self) -> float:
        """How long the drain took; 0 before it has ended."""
        return max(0.0, self._ended_s - self._draining_s) * 1000

    def run(self) -> None:
        """Work until a drain has ended."""
        switch_s = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_S)
        try:
            self._run()
        finally:
            sys.setswitchinterval(switch_s)

    def _run(self) -> None:
        core = self.core
        receivers = [
            Receiver(core, self._intake, name, ahead=self._look(name)) for name in core.queues
        ]
        taking = [
            self._start(f"receive-{name}", item.run)
            for name, item in zip(core.queues, receivers, strict=True)
        ]
        self._start("load", lambda: self.loader.run(self._intake), runs_models=True)
        device = self._start("device", self.device.run, runs_models=True)
        publishers = [self._start(f"publish-{n}", self._publish) for n in range(PUBLISHERS)]
        heartbeat = self._start("heartbeat", lambda: self._heartbeat.run(self._stop))
        core.draining.wait()
        for item in core.queues.values():
            item.stop_receiving()
        self._end(taking, device)
        for _ in publishers:
            with suppress(queue.Full):
                self.device.done.put(None, timeout=self._patience_s())
        for thread in (*publishers, device):
            thread.join(self._patience_s())
        core.settling.hand_back(core.hand.all())
        self._stop.set()
        heartbeat.join(self._patience_s())
        self._ended_s = time.monotonic()

    def _end(self, taking: list[threading.Thread], device: threading.Thread) -> None:
        """See what is in hand to its end, until the drain's time is over."""
        core = self.core
        self.loader.hand_back()
        while any(thread.is_alive() for thread in (*taking, device)):
            with self._changed:
                left_s = self.device.limit_s - time.monotonic()
                if left_s <= 0 or self.failure is not None:
                    break
                self._changed.wait(min(left_s, 0.05))
        self.device.stop()
        device.join(self._patience_s())
        core.settling.hand_back([item.held for item in core.backlog.take_all()])

    def _patience_s(self) -> float:
        """For a thread that may hang, in a model or a transform: the others' time is as dear."""
        return min(JOIN_S, max(JOIN_MIN_S, self._back_by_s - time.monotonic()))

    def _publish(self) -> None:
        while (done := self.device.done.get()) is not None:
            publish(self.core, done, self._answering)
            del done  # it holds the model while nothing else comes

    def _look(self, queue: str) -> Callable[[], int]:
        """How many deliveries of a queue may wait here."""
        return (lambda: 1) if queue == CHUNKS else (lambda: self._ahead.of(queue))

    def _kinds(self, queue: str) -> list[Kind]:
        """What waits to run together, in the backlog, and for a model whatever its queue."""
        core = self.core
        ready = [
            Kind(jobs, core.paces.expect_s(first.held.work.model))
            for first, jobs in core.backlog.kinds(queue)
            if first.held.work is not None
        ]
        waiting = [
            Kind(
                core.worker.catalog.model(name).max_batch_size, core.paces.expect_s((name, version))
            )
            for name, version in self.loader.models()
        ]
        return ready + waiting

    def _start(
        self, name: str, target: Callable[[], None], *, runs_models: bool = False
    ) -> threading.Thread:
        def guarded() -> None:
            try:
                if not runs_models:
                    stay_in_background()
                target()
            except BaseException as error:  # noqa: BLE001  whatever ends a thread ends the worker
                self._fail(error)

        thread = threading.Thread(target=guarded, name=f"laneway-{name}", daemon=True)
        thread.start()
        return thread

    def _fail(self, error: BaseException) -> None:
        """A defect of ours: what is in hand is handed back, and the process is started anew."""
        self.core.worker.reporter.defect(error, None)
        self.failure = self.failure or error
        self.drain(JOIN_S)
