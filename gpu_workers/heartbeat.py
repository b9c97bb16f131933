"""Keeps what is in hand: extends messages and leases, and stops the work on what is lost."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from gpu_workers.core import BEATS
from shared.errors import LanewayError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from gpu_workers.core import Core
    from gpu_workers.hand import Held

TICK_S: Final = 0.5
RETRY_S: Final = 2.0
"""After an extension that the store did not answer."""
CLOCKS_S: Final = 2.0
"""A lease that could not be extended is given up so long before it lapses."""


class Heartbeat:
    """`on_lost`: told of each delivery whose job is not ours any more."""

    def __init__(self, core: Core, on_lost: Callable[[Held], None]) -> None:
        self._core = core
        self._on_lost = on_lost

    def run(self, stop: Event) -> None:
        """Until `stop`."""
        tick_s = min(TICK_S, self._core.lease_s / BEATS / 4)
        while not stop.wait(tick_s):
            self.beat()

    def beat(self) -> None:
        """Extend what is due."""
        now_s = time.monotonic()
        due = [item for item in self._core.hand.all() if item.beat_s <= now_s and not item.lost]
        self._core.worker.parallel.map(self._extend, due)

    def _extend(self, held: Held) -> None:
        core = self._core
        held.beat_s = time.monotonic() + core.lease_s / BEATS
        with suppress(LanewayError):
            core.queues[held.queue].extend(
                held.delivery, visibility_s=max(1, math.ceil(core.lease_s))
            )
        work = held.work
        if work is None or held.ending:
            return
        until = core.worker.clock() + core.lease_s
        try:
            kept = core.worker.store.extend(work.row.key, fence=work.row.fence, lease_until=until)
        except UnavailableError:
            held.beat_s = time.monotonic() + min(RETRY_S, core.lease_s / BEATS / 2)
            kept = core.worker.clock() < held.until - min(CLOCKS_S, core.lease_s / BEATS)
            until = held.until
        held.until = until
        # Its end may have been written, or its lease given up, while we asked.
        if not kept and not held.ending and held.work is work:
            held.lost = True
            self._on_lost(held)
