"""Leaves room for the other tenants of a queue: of what waits here, one has its share at most.

What is past it goes back to the queue, unclaimed and uncharged, and comes again in its turn.
"""

from __future__ import annotations

import math
from itertools import count
from typing import TYPE_CHECKING

from shared.jobs.concluding import conclude
from shared.jobs.sharing import tenant_of, turn_away
from shared.limiting.shares import Entry, MemoryShares

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.jobs.work import Worker
    from shared.limiting.shares import Entered
    from shared.queues.protocol import Delivery


class Fairness:
    """Of one worker; safe to use from several threads. `share` 1: everything may be one tenant's."""

    def __init__(self, worker: Worker, *, share: float) -> None:
        self._worker = worker
        self._share = share
        self._shares = MemoryShares()
        self._entered: dict[tuple[str, str], Entered] = {}
        self._owners = count()

    def admitted(
        self, queue: str, deliveries: Sequence[Delivery], *, ahead: int
    ) -> Sequence[Delivery]:
        """Those that may be taken in hand; the others are on their way back to the queue.

        `ahead`: how many deliveries of the queue wait here at most.
        """
        if self._share >= 1:
            return deliveries
        jobs_max = max(1, int(self._share * ahead))
        away = {
            place: after_s
            for place, delivery in enumerate(deliveries)
            if (after_s := self._enter(queue, delivery, jobs_max)) is not None
        }
        self._worker.parallel.map(
            lambda place: self._turn_away(queue, deliveries[place], away[place]), list(away)
        )
        return [delivery for place, delivery in enumerate(deliveries) if place not in away]

    def entered(self, queue: str, delivery: Delivery) -> Entered | None:
        """The place of an admitted delivery, for who gives it back."""
        return self._entered.pop((queue, delivery.receipt), None)

    def leave(self, entered: Entered) -> None:
        """It waits no more."""
        self._shares.leave(entered, now=self._worker.clock())

    def _enter(self, queue: str, delivery: Delivery, jobs_max: int) -> float | None:
        """Seconds until it is to come again; None: it may be taken."""
        tenant = tenant_of(self._worker, delivery)
        if tenant is None:
            return None
        entry = Entry(queue, tenant, str(next(self._owners)), 1)
        entered = self._shares.enter(
            entry, share=jobs_max, now=self._worker.clock(), until=math.inf
        )
        if not entered.granted:
            return entered.again_after_s[0]
        self._entered[queue, delivery.receipt] = entered
        return None

    def _turn_away(self, queue: str, delivery: Delivery, after_s: float) -> None:
        outcome = turn_away(self._worker, delivery, queue, after_s)
        conclude(self._worker.queues[self._worker.pool, queue], delivery, outcome)
