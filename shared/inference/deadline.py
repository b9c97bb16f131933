"""A deadline on every run: one watchdog thread a process stops runs that are past theirs.

onnxruntime stops a run between two operators once its `RunOptions.terminate` is set, also inside a
loop of the graph. No request pays for a thread or a timer: a run is entered in a dict, and one
daemon thread looks at the dict every tick while there is anything to watch.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Final

from onnxruntime import RunOptions

if TYPE_CHECKING:
    from collections.abc import Callable

TICK_S: Final = 0.025
"""A run is stopped at most this long after its deadline, plus the operator that it is in."""
IDLE_TICKS: Final = 40
"""Ticks without any run after which the thread sleeps until it is woken; waking costs microseconds,
so it should not happen on each of a series of requests."""


class Watchdog:
    """Sets `terminate` on the options of every armed run whose deadline has passed."""

    def __init__(
        self, *, tick_s: float = TICK_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tick_s = tick_s
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Forget every run and start a new thread at the next one: threads do not survive a fork."""
        self._armed: dict[RunOptions, float] = {}
        self._wake = threading.Event()
        self._parked = False
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def arm(self, deadline_s: float) -> RunOptions:
        """Fresh options for one run that must end by `deadline_s` on the monotonic clock.

        The options are never used twice: setting `terminate` on those of a run that has just ended
        can then not stop the next one.
        """
        options = RunOptions()
        self._armed[options] = deadline_s
        if self._parked:
            self._wake.set()
        elif self._thread is None:
            self._start()
        return options

    def disarm(self, options: RunOptions) -> None:
        """Stop watching a run that has ended, however it ended."""
        del self._armed[options]

    @property
    def parked(self) -> bool:
        """Whether the thread sleeps until the next run is armed."""
        return self._parked

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._watch, name="laneway-deadlines", daemon=True
                )
                self._thread.start()

    def _watch(self) -> None:
        idle_ticks = 0
        while True:
            time.sleep(self._tick_s)
            idle_ticks = 0 if self._armed else idle_ticks + 1
            self._terminate_late()
            if idle_ticks >= IDLE_TICKS:
                self._park()
                idle_ticks = 0

    def _terminate_late(self) -> None:
        now_s = self._clock()
        for options, deadline_s in self._armed.copy().items():
            if now_s >= deadline_s:
                options.terminate = True

    def _park(self) -> None:
        # Announced before the last look: a run armed in between either is seen here or wakes us.
        self._wake.clear()
        self._parked = True
        if not self._armed:
            self._wake.wait()
        self._parked = False


WATCHDOG: Final = Watchdog()
"""The one of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=WATCHDOG.reset)
