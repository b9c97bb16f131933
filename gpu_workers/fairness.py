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
from typing import TYPE_CHECKING, Final, NamedTuple

from shared.jobs.concluding import conclude
from shared.jobs.sharing import tenant_of, turn_away
from shared.limiting.shares import HOLD_S, HOLD_WEIGHT, away_s, free, pace_per_s

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shared.jobs.work import Worker
    from shared.queues.protocol import Delivery

SEEN_WEIGHT: Final = 0.5
"""Of the last measurement in what sending away and running take."""


RUNS_INSTEAD: Final = 8
"""How many times cheaper a run must be than sending its message away, for nothing to be sent away."""


@dataclass(slots=True, eq=False)
class _Tenant:
    """One tenant on one queue."""

    waiting: int = 0
    hold_s: float = HOLD_S
    line_ends_at: float = 0.0


class Place(NamedTuple):
    """Where a delivery waits; given back when it begins to run."""

    tenant: _Tenant
    since_s: float


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
        self._tenants: dict[tuple[str, str], _Tenant] = {}
        self._costs: dict[str, _Costs] = {}
        self._places: dict[tuple[str, str], Place] = {}

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
                known = self._tenants.setdefault((queue, tenant), _Tenant())
                receipts = [(queue, deliveries[position].receipt) for position in positions]
                away |= self._enter(known, positions, receipts, max(1, jobs_max))
        if away:
            self._turn_away(queue, deliveries, away, costs)
        return [delivery for place, delivery in enumerate(deliveries) if place not in away]

    def entered(self, queue: str, delivery: Delivery) -> Place | None:
        """The place of an admitted delivery, for who gives it back."""
        return self._places.pop((queue, delivery.receipt), None)

    def leave(self, place: Place) -> None:
        """It waits no more."""
        tenant, since_s = place
        with self._lock:
            tenant.waiting -= 1
            held_s = self._monotonic() - since_s
            tenant.hold_s = (1 - HOLD_WEIGHT) * tenant.hold_s + HOLD_WEIGHT * held_s

    def ran(self, queue: str, *, job_s: float) -> None:
        """A job of the queue took so long, its part of the run."""
        with self._lock:
            costs = self._costs.setdefault(queue, _Costs())
            costs.run_s = _averaged(costs.run_s, job_s)

    def _enter(
        self,
        tenant: _Tenant,
        positions: Sequence[int],
        receipts: Sequence[tuple[str, str]],
        jobs_max: int,
    ) -> Mapping[int, float]:
        """Seconds until each of those comes again that may not be taken, by position."""
        granted = free(jobs_max, tenant.waiting, len(positions))
        place = Place(tenant, self._monotonic())
        self._places.update(dict.fromkeys(receipts[:granted], place))
        tenant.waiting += granted
        turned = positions[granted:]
        if not turned:
            return {}
        now = self._worker.clock()
        line_pace = pace_per_s(jobs_max, tenant.hold_s)
        tenant.line_ends_at = max(tenant.line_ends_at, now) + len(turned) / line_pace
        after_s = away_s(len(turned), ends_at=tenant.line_ends_at, pace=line_pace, now=now)
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
