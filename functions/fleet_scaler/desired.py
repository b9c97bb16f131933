"""How many workers a pool's fleet should have: pure, from what is waiting and what is running.

Out: at once, to as many as work the backlog off within the target wait of its class.
In: never while anything waits, is in flight or is leased. The surplus goes first, half at a time, after
two quiet minutes; the last worker goes after `idle_s`, because the next job would wait for a start-up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

SURPLUS_AFTER_S: Final = 120.0
"""SQS counts are right within about a minute: one look at an empty queue is no proof."""
CHUNKS: Final = "chunks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Bounds and reckonings of one pool."""

    max_workers: int
    min_workers: int = 0
    job_s: float
    """What a worker is reckoned to need for a job."""
    chunk_s: float = 60.0
    """What it is reckoned to need for a chunk of a batch."""
    wait_s: Mapping[str, float]
    """By latency class: the backlog is to be worked off in so long."""
    idle_s: float = 600.0

    def wait_of(self, kind: str) -> float:
        """The target wait of a queue's class; chunks are of class batch."""
        latency_class = "batch" if kind == CHUNKS else kind.removesuffix("-high")
        return self.wait_s[latency_class]

    def seconds(self, depths: Mapping[str, int]) -> float:
        """Work in worker-seconds."""
        return sum(
            count * (self.chunk_s if kind == CHUNKS else self.job_s)
            for kind, count in depths.items()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one look at a pool found."""

    depths: Mapping[str, int]
    """Messages waiting and in flight, by queue."""
    leased: int = 0
    """Jobs that a worker holds by the table of jobs, where it was asked."""
    woken: bool = False
    """A submit has just said that there is a job: the queues may not count it yet."""
    workers: int
    """How many the service is told to have now."""

    @property
    def backlog(self) -> int:
        """Jobs and chunks that are not done."""
        return max(sum(self.depths.values()), self.leased, int(self.woken))


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do now, and what to remember until the next look."""

    workers: int
    idle_since: float | None
    """Epoch seconds of the first look that found nothing to do; None: there is something."""


def desired(seen: Seen, rules: Rules, *, idle_since: float | None, now: float) -> Decision:
    """The number of workers from now on; `idle_since` is what the last decision remembered."""
    if seen.backlog > 0:
        return Decision(workers=max(seen.workers, needed(seen, rules)), idle_since=None)
    since = now if idle_since is None else idle_since
    return Decision(workers=_less(seen.workers, rules, quiet_s=now - since), idle_since=since)


def needed(seen: Seen, rules: Rules) -> int:
    """Workers that work the backlog off within its target wait, at least one and within bounds.

    A queue counts by its own class: ten hours of batch work are not to be done in five minutes.
    """
    share = sum(
        rules.seconds({kind: count}) / rules.wait_of(kind) for kind, count in seen.depths.items()
    )
    return min(max(math.ceil(share), rules.min_workers, 1), rules.max_workers)


def _less(workers: int, rules: Rules, *, quiet_s: float) -> int:
    """Fewer workers after some quiet, never fewer than the minimum."""
    if workers <= rules.min_workers:
        return rules.min_workers
    if quiet_s >= rules.idle_s:
        return rules.min_workers
    if quiet_s >= SURPLUS_AFTER_S:
        return max(math.ceil(workers / 2), rules.min_workers, 1)
    return workers
