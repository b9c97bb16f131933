"""How many messages a worker receives only to see who stands behind them.

While a tenant has all of its share, further messages of it are sent away so that others are seen. A flood that
is growing is seen through at once, so that it grows before nobody. What was there for a while, such as all
that came before this worker did, is seen through beside the runs, at a rate that takes little of their time.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

LOOKS_PER_S: Final = 1000.0
"""Messages sent away; a stage takes 500 calls a second from all its callers, and some are sent away twice."""
LOOKS_BEHIND_PER_S: Final = 200.0
"""The same among messages that were sent longer ago."""
FRESH_S: Final = 2.0
AT_ONCE: Final = 10
"""For fewer nobody looks, and twice as many are saved up."""
CALM_S: Final = 1.0
"""After so long without anybody sent away, all that there is room for is received."""


class Looks:
    """Of one queue's receiver. `clock`: epoch seconds, as messages have them."""

    def __init__(
        self, *, clock: Callable[[], float], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._crowded = 0
        """Deliveries that waited here when some were sent away last."""
        self._crowded_s = -math.inf
        self._per_s = LOOKS_PER_S
        self._left = 0.0
        self._counted_s = 0.0

    def limit(self, room: int, *, waiting: int) -> int:
        """How many to receive where there is room for so many, and `waiting` deliveries wait here."""
        now_s = self._monotonic()
        if now_s - self._crowded_s > CALM_S:
            return room
        self._left = min(2.0 * AT_ONCE, self._left + (now_s - self._counted_s) * self._per_s)
        self._counted_s = now_s
        looks = int(self._left) if self._left >= AT_ONCE else 0
        return min(room, max(0, self._crowded - waiting) + looks)

    def turned_away(self, turned: int, *, waiting: int, sent_at: float | None) -> None:
        """So many were sent away; `waiting` wait here with those received that were not.

        `sent_at`: of the newest that was never sent away before; None: there was none.
        """
        now_s = self._monotonic()
        if now_s - self._crowded_s > CALM_S:
            self._left, self._counted_s = 0.0, now_s
        if sent_at is not None:
            is_fresh = self._clock() - sent_at < FRESH_S
            self._per_s = LOOKS_PER_S if is_fresh else LOOKS_BEHIND_PER_S
        self._left -= turned
        self._crowded, self._crowded_s = waiting, now_s
