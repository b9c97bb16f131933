"""What the parts of the worker share: the pool's worker, its queues, what is in hand, and the signals."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Final

from gpu_workers.backlog import Backlog
from gpu_workers.fairness import Fairness
from gpu_workers.hand import Hand, Held
from gpu_workers.outage import Outage
from gpu_workers.rota import Rota
from gpu_workers.settling import Settling
from gpu_workers.sizes import Sizes
from shared.jobs.columns import KnownWays
from shared.jobs.stacking import Paces
from shared.routing.lane import GPU_QUEUES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.jobs.batches.run_chunk import ChunkRunner
    from shared.jobs.work import Worker
    from shared.queues.protocol import Delivery, Queue

CHUNKS: Final = "chunks"
"""Carries chunks of batches; taken when nothing else waits, but for its own turns."""
ORDER: Final = (*GPU_QUEUES, CHUNKS)
CHUNK_MIN_S: Final = 1.0
"""A chunk runs at least so long before it gives way to jobs that wait."""
BEATS: Final = 3
"""Heartbeats in the time of a lease."""
INPUTS_BYTES_MAX: Final = 256 * 1024 * 1024
"""Inputs that are in memory at once, before they are decoded."""


@dataclass(slots=True, kw_only=True)
class Core:
    """One worker's parts. `queues`: those that it consumes, by name."""

    worker: Worker
    queues: Mapping[str, Queue]
    owner: str
    lease_s: float
    wait_s: float = 4.0
    """One long call for messages; a drain has to wait for its end."""
    chunks: ChunkRunner | None = None
    chunk_s: float = 300.0
    chunk_started_s: float = 0.0
    inputs_bytes_max: int = INPUTS_BYTES_MAX
    tenant_share: float = 1.0
    """Of what waits here of one queue, so much may be one tenant's."""
    fairness: Fairness = field(init=False)
    hand: Hand = field(init=False)
    outage: Outage = field(default_factory=Outage)
    backlog: Backlog = field(init=False)
    settling: Settling = field(init=False)
    paces: Paces = field(default_factory=Paces)
    sizes: Sizes = field(default_factory=Sizes)
    ways: KnownWays = field(default_factory=KnownWays)
    again: deque[Held] = field(default_factory=deque)
    """Jobs that were tried before: each runs when nothing else is claimed, so that it can harm no other."""
    gate: Event = field(default_factory=Event)
    """Open: receivers receive."""
    draining: Event = field(default_factory=Event)
    stopped: Event = field(default_factory=Event)
    """The drain's time is over: what runs is aborted."""
    warm: Event = field(default_factory=Event)
    """The models that fit were loaded, or were tried."""

    def __post_init__(self) -> None:
        consumed = [name for name in ORDER if name in self.queues]
        self.fairness = Fairness(self.worker, share=self.tenant_share)
        self.hand = Hand(bytes_max=self.inputs_bytes_max, leave=self.fairness.leave)
        self.backlog = Backlog(Rota(consumed), sizes=self.sizes)
        self.settling = Settling(
            self.worker, queues=self.queues, hand=self.hand, outage=self.outage
        )
        self.gate.set()

    def hold(self, queue: str, deliveries: Sequence[Delivery]) -> list[Held]:
        """Take deliveries in hand: from now on their messages are kept invisible."""
        beat_s = time.monotonic() + self.lease_s / BEATS
        held = [
            Held(queue, delivery, beat_s, entered=self.fairness.entered(queue, delivery))
            for delivery in deliveries
        ]
        self.hand.take(held)
        return held

    def chunk_clock(self) -> float:
        """The monotonic clock for a chunk's run: it says that its time is over where others wait."""
        now_s = time.monotonic()
        gives_way = now_s - self.chunk_started_s >= CHUNK_MIN_S and self.backlog.holds(above=CHUNKS)
        return math.inf if self.draining.is_set() or gives_way else now_s

    def wake(self) -> None:
        """End every wait, for a signal to be seen."""
        self.hand.wake()
        self.backlog.wake()
