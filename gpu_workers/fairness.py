"""Leaves room for the other tenants of a queue: of what waits here, one has its share at most.

What is past it goes back to the queue, unclaimed and uncharged, and comes again in its turn: so others
are seen that stand behind it. Where sending a message away takes many times as long as running its job, as
it does for small models over a broker that confirms each message, nothing is sent away: to run it is the
shorter way.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Final

from shared.jobs.concluding import conclude
from shared.jobs.sharing import tenant_of, turn_away
from shared.limiting.shares import EAGER, away_s, free

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shared.jobs.work import Worker
    from shared.queues.protocol import Delivery

SEEN_WEIGHT: Final = 0.5
"""Of the last measurement in what sending away and running take."""


RUNS_INSTEAD: Final = 8
"""How many times cheaper a run must be than sending its message away, for nothing to be sent away."""

LEAST_S: Final = 0.1
"""Nobody is sent away for less; SQS makes a second of it."""
FORGET_S: Final = 10.0
"""After so long without anybody sent away, a tenant's pace is not known any more."""
PACE_S: Final = 4.0
"""What began to run longer ago counts half in a tenant's pace."""
TRUST: Final = 4.0
"""A place is given out so many times as far ahead as the pace has been counted."""
GUESS: Final = 0.5
"""The same of the time that a tenant has been crowded, before its pace is known."""


@dataclass(slots=True, eq=False)
class Crowd:
    """What is known of one tenant on one queue; times by the monotonic clock."""

    waiting: int = 0
    since_s: float = 0.0
    """It has been crowded since."""
    last_s: float = -math.inf
    """When some of its jobs were sent away last."""
    left: float = 0.0
    """So many began to run in `counted_s` seconds in which others waited."""
    counted_s: float = 0.0
    mark_s: float | None = None
    """When the last of them did; None: since then none has waited."""
    line_ends_at: float = 0.0

    def join(self, granted: int) -> None:
        """So many of its jobs wait now."""
        if not self.waiting:
            self.mark_s = None
        self.waiting += granted

    def leave(self, now_s: float) -> None:
        """One of them begins to run."""
        self.waiting -= 1
        if self.mark_s is not None:
            self.left += 1
            self.counted_s += now_s - self.mark_s
        self.mark_s = now_s

    def away_s(self, turned: int, *, now: float, now_s: float) -> list[float]:
        """Seconds until each of so many comes again: its place in the line, as far as one is given out.

        Nobody comes before those who were sent away earlier, who would keep them in a queue of RabbitMQ's.
        """
        if now_s - self.last_s > FORGET_S:
            self.since_s, self.line_ends_at = now_s, 0.0
            self.left, self.counted_s, self.mark_s = 0.0, 0.0, None
        self.last_s = now_s
        if not self.left or not self.counted_s:
            return [max(LEAST_S, GUESS * (now_s - self.since_s))] * turned
        if self.counted_s > 2 * PACE_S:
            self.left, self.counted_s = self.left / 2, self.counted_s / 2
        pace = EAGER * self.left / self.counted_s
        self.line_ends_at = max(self.line_ends_at, now) + turned / pace
        places_s = away_s(turned, ends_at=self.line_ends_at, pace=pace, now=now, least_s=LEAST_S)
        horizon_s = TRUST * self.counted_s
        self.line_ends_at = min(self.line_ends_at, now + horizon_s)
        return [min(place_s, max(LEAST_S, horizon_s)) for place_s in places_s]


@dataclass(slots=True)
class _Costs:
    """What one message of a queue takes lately, in seconds: to send away, and to run."""

    away_s: float = 0.0
    run_s: float = math.inf


class Fairness:
    """Of one worker; safe to use from several threads. `share` 1: everything may be one tenant's."""

    def __init__(
        self, worker: Worker, *, share: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._worker = worker
        self._share = share
        self._monotonic = monotonic
        self._lock = Lock()
        self._crowds: dict[tuple[str, str], Crowd] = {}
        self._costs: dict[str, _Costs] = {}
        self._places: dict[tuple[str, str], Crowd] = {}

    def admitted(
        self, queue: str, deliveries: Sequence[Delivery], *, ahead: int
    ) -> Sequence[Delivery]:
        """Those that may be taken in hand; the others are on their way back to the queue.

        `ahead`: how many deliveries of the queue wait here at most.
        """
        if self._share >= 1:
            return deliveries
        by_tenant: dict[str, list[int]] = {}
        for position, delivery in enumerate(deliveries):
            tenant = tenant_of(self._worker, delivery)
            if tenant is not None:
                by_tenant.setdefault(tenant, []).append(position)
        with self._lock:
            costs = self._costs.setdefault(queue, _Costs())
            cheaper = costs.run_s * RUNS_INSTEAD < costs.away_s
            jobs_max = ahead if cheaper else int(self._share * ahead)
            away: dict[int, float] = {}
            for tenant, positions in by_tenant.items():
                crowd = self._crowds.setdefault((queue, tenant), Crowd())
                receipts = [(queue, deliveries[position].receipt) for position in positions]
                away |= self._enter(crowd, positions, receipts, max(1, jobs_max))
        if away:
            self._turn_away(queue, deliveries, away, costs)
        return [delivery for place, delivery in enumerate(deliveries) if place not in away]

    def entered(self, queue: str, delivery: Delivery) -> Crowd | None:
        """Among whom an admitted delivery waits."""
        return self._places.pop((queue, delivery.receipt), None)

    def leave(self, crowd: Crowd) -> None:
        """One of these waits no more."""
        with self._lock:
            crowd.leave(self._monotonic())

    def ran(self, queue: str, *, job_s: float) -> None:
        """A job of the queue took so long, its part of the run."""
        with self._lock:
            costs = self._costs.setdefault(queue, _Costs())
            costs.run_s = _averaged(costs.run_s, job_s)

    def _enter(
        self,
        crowd: Crowd,
        positions: Sequence[int],
        receipts: Sequence[tuple[str, str]],
        jobs_max: int,
    ) -> Mapping[int, float]:
        """Seconds until each of those comes again that may not be taken, by position."""
        now_s = self._monotonic()
        granted = free(jobs_max, crowd.waiting, len(positions))
        self._places.update(dict.fromkeys(receipts[:granted], crowd))
        crowd.join(granted)
        turned = positions[granted:]
        if not turned:
            return {}
        after_s = crowd.away_s(len(turned), now=self._worker.clock(), now_s=now_s)
        return dict(zip(turned, after_s, strict=True))

    def _turn_away(
        self, queue: str, deliveries: Sequence[Delivery], away: Mapping[int, float], costs: _Costs
    ) -> None:
        worker = self._worker
        started_s = self._monotonic()
        turned = [(deliveries[place], after_s) for place, after_s in away.items()]
        outcomes = turn_away(worker, turned, queue=queue)
        ended = [
            (delivery, outcome) for (delivery, _), outcome in zip(turned, outcomes, strict=True)
        ]
        conclude(worker.queues[worker.pool, queue], ended, parallel=worker.parallel)
        took_s = (self._monotonic() - started_s) / len(away)
        with self._lock:
            costs.away_s = _averaged(costs.away_s or math.inf, took_s)


def _averaged(before: float, now: float) -> float:
    """The average with a new measurement; infinite: nothing was measured before."""
    return now if math.isinf(before) else (1 - SEEN_WEIGHT) * before + SEEN_WEIGHT * now
