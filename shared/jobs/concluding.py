"""Tells a queue what came of a delivery."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from shared.errors import QueueUnavailableError
from shared.jobs.delivery import Bury, Done

if TYPE_CHECKING:
    from shared.jobs.delivery import Outcome
    from shared.queues.protocol import Delivery, Queue


def conclude(queue: Queue, delivery: Delivery, outcome: Outcome) -> bool:
    """Whether the message left the queue. A broker that does not answer delivers it again anyway."""
    try:
        if isinstance(outcome, Done):
            queue.acknowledge(delivery)
        elif isinstance(outcome, Bury):
            queue.bury(delivery, reason=outcome.reason)
        else:
            queue.hand_back(delivery, delay_s=math.ceil(outcome.after_s))
            return False
    except QueueUnavailableError:
        return False
    return True
