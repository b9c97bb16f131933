"""Keeps one tenant's batches from having all workers of a pool's chunks: what is past its share comes again.

A chunk that is turned away is neither claimed nor charged.
"""

from __future__ import annotations

import math
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.errors import UnavailableError
from shared.jobs.delivery import DONE, Outcome, Retry
from shared.jobs.sharing import RESENT_FROM
from shared.limiting.shares import Entry
from shared.limits import SQS_DELAY_S_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.jobs.clock import Clock
    from shared.jobs.work import Lease
    from shared.limiting.shares import Entered, Shares
    from shared.queues.protocol import Delivery, Queue


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkShare:
    """Of the chunks that run on `line`, a pool's queue, one tenant has `chunks_max` at most."""

    shares: Shares
    line: str
    chunks_max: int

    @contextmanager
    def taken(self, tenant: str, *, lease: Lease, clock: Clock) -> Iterator[float | None]:
        """One chunk of the tenant's is in hand while the block lasts; else the seconds after which to come again."""
        entered = self._enter(Entry(self.line, tenant, lease.owner, 1), lease, clock())
        try:
            yield entered.again_after_s[0] if entered and not entered.granted else None
        finally:
            if entered and entered.granted:
                with suppress(UnavailableError):  # the entry lapses
                    self.shares.leave(entered, now=clock())

    def _enter(self, entry: Entry, lease: Lease, now: float) -> Entered | None:
        """None where the shares cannot be known: chunks are run then, fairly or not."""
        try:
            return self.shares.enter(entry, share=self.chunks_max, now=now, until=lease.until)
        except UnavailableError:
            return None


def turned_away(delivery: Delivery, after_s: float, queue: Queue, *, tenant: str) -> Outcome:
    """How a chunk's delivery ends that is to come again; sent anew before the queue buries it."""
    if delivery.receive_count < RESENT_FROM:
        return Retry(after_s)
    try:
        delay_s = min(SQS_DELAY_S_MAX, math.ceil(after_s))
        queue.send(delivery.body, tenant=tenant, delay_s=delay_s)
    except UnavailableError:
        return Retry(after_s)
    return DONE
