"""Tells a queue what came of deliveries, in few calls."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from shared.errors import QueueUnavailableError
from shared.jobs.delivery import Bury, Done, Retry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.jobs.delivery import Outcome
    from shared.jobs.parallel import Parallel
    from shared.queues.protocol import Delivery, Queue


def conclude(
    queue: Queue, ended: Sequence[tuple[Delivery, Outcome]], *, parallel: Parallel
) -> list[bool]:
    """Whether each message left the queue. A broker that does not answer delivers it again anyway."""
    done = [delivery for delivery, outcome in ended if isinstance(outcome, Done)]
    again = [(delivery, outcome) for delivery, outcome in ended if isinstance(outcome, Retry)]
    bad = [(delivery, outcome) for delivery, outcome in ended if isinstance(outcome, Bury)]
    is_done = bool(done) and _acknowledged(queue, done)
    if again:
        _hand_back(queue, again)
    buried = iter(parallel.map(lambda pair: _buried(queue, *pair), bad))
    return [
        next(buried) if isinstance(outcome, Bury) else is_done and isinstance(outcome, Done)
        for _, outcome in ended
    ]


def _acknowledged(queue: Queue, done: Sequence[Delivery]) -> bool:
    try:
        queue.acknowledge_many(done)
    except QueueUnavailableError:
        return False
    return True


def _hand_back(queue: Queue, again: Sequence[tuple[Delivery, Retry]]) -> None:
    with suppress(QueueUnavailableError):
        queue.hand_back_many(
            [delivery for delivery, _ in again],
            delays_s=[outcome.after_s for _, outcome in again],
        )


def _buried(queue: Queue, delivery: Delivery, outcome: Bury) -> bool:
    try:
        queue.bury(delivery, reason=outcome.reason)
    except QueueUnavailableError:
        return False
    return True
