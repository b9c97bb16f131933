"""A deadline on every run: one watchdog thread a process stops runs that are past theirs.

onnxruntime stops a run between two operators once its `RunOptions.terminate` is set, also inside a
loop of the graph. No request pays for a thread or a timer: each thread that runs models has one
`Watch` to write its deadline on, and one daemon thread looks at the watches every tick.

A watch and its options are used again, run after run, since making options costs a tenth of a small
model's run. So `terminate` may be set a moment too late, on a run that is not meant: whoever sees a
run stopped before its deadline runs it again with fresh options (`ModelSession.run`), unless the
thread's work was aborted.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Final

from onnxruntime import RunOptions

if TYPE_CHECKING:
    from collections.abc import Callable

TICK_S: Final = 0.025
"""A run is stopped at most this long after its deadline, plus the operator that it is in."""
IDLE_TICKS: Final = 40
"""Ticks without a run seen after which the thread sleeps until it is woken; waking costs microseconds,
so it should not happen on each of a series of requests."""
OVERDUE_S: Final = 600.0
"""A run that is so long past its deadline is in an operator that does not end. Not less: TensorRT builds
its engines within a run."""
FOREVER: Final = float("inf")


class Watch:
    """What one thread is running: `deadline_s` on the monotonic clock, FOREVER between runs."""

    __slots__ = ("__weakref__", "aborted", "deadline_s", "options")

    def __init__(self) -> None:
        self.deadline_s = FOREVER
        self.options = RunOptions()
        self.aborted = False
        """No run of this thread goes on until it is allowed to again."""

    def abort(self) -> None:
        """Stop the thread's run, and each that it begins from now on; from any thread."""
        self.aborted = True
        self.options.terminate = True

    def allow(self) -> None:
        """Let the thread run again."""
        self.aborted = False
        self.renew()

    def renew(self) -> None:
        """Fresh options, after a run was stopped."""
        self.options = RunOptions()
        self.options.terminate = self.aborted


class Watchdog:
    """Sets `terminate` on the options of every watch whose deadline has passed."""

    def __init__(
        self, *, tick_s: float = TICK_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tick_s = tick_s
        self._clock = clock
        self.overdue: Callable[[], object] | None = None
        """Called where a run goes on `OVERDUE_S` after its deadline: nothing stops it but the process's end."""
        self.reset()

    def reset(self) -> None:
        """Forget every run and start a new thread at the next one: threads do not survive a fork."""
        self._local = threading.local()
        self._watches: list[weakref.ref[Watch]] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._parked = False
        self._started = False

    def arm(self, deadline_s: float) -> Watch:
        """The calling thread's watch, for a run that must end by `deadline_s`.

        Whoever arms sets `deadline_s` back to FOREVER when the run has ended, however it ended.
        """
        watch = self.watch()
        watch.deadline_s = deadline_s
        if self._parked:
            self._wake.set()
        return watch

    def watch(self) -> Watch:
        """The calling thread's watch, for others to abort what it runs."""
        try:
            watch: Watch = self._local.watch
        except AttributeError:
            watch = self._new_watch()
        return watch

    @property
    def parked(self) -> bool:
        """Whether the thread sleeps until the next run is armed."""
        return self._parked

    def _new_watch(self) -> Watch:
        watch = self._local.watch = Watch()
        with self._lock:
            self._watches = [known for known in self._watches if known() is not None]
            self._watches.append(weakref.ref(watch))
            if not self._started:
                self._started = True
                threading.Thread(target=self._look, name="laneway-deadlines", daemon=True).start()
        return watch

    def _look(self) -> None:
        idle_ticks = 0
        while True:
            time.sleep(self._tick_s)
            idle_ticks = 0 if self._stop_late_runs() else idle_ticks + 1
            if idle_ticks >= IDLE_TICKS:
                self._park()
                idle_ticks = 0

    def _stop_late_runs(self) -> bool:
        """Whether anything runs."""
        now_s = self._clock()
        running = False
        for reference in self._watches:
            watch = reference()
            if watch is None or watch.deadline_s == FOREVER:
                continue
            running = True
            if now_s >= watch.deadline_s:
                watch.options.terminate = True
                if self.overdue is not None and now_s >= watch.deadline_s + OVERDUE_S:
                    self.overdue()
        return running

    def _park(self) -> None:
        # Announced before the last look: a run armed in between either is seen here or wakes us.
        self._wake.clear()
        self._parked = True
        if not self._stop_late_runs():
            self._wake.wait()
        self._parked = False


WATCHDOG: Final = Watchdog()
"""The one of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=WATCHDOG.reset)
