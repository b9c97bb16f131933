"""When a failed call is sent again, and after how long. Pure but for the dice."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.client.errors import StatusError

if TYPE_CHECKING:
    from cli.client.errors import ClientError


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """At most `max_retries` further tries, waiting a random time below a doubling bound.

    Only failures that say `retryable` are tried again. `Retry-After` is the least wait; one longer
    than `max_retry_after_s` is not waited for, the failure is raised at once.
    """

    max_retries: int = 3
    base_s: float = 0.2
    max_wait_s: float = 5.0
    max_retry_after_s: float = 30.0
    never_after: tuple[type[ClientError], ...] = ()
    """Failures that are raised at once, retryable or not."""

    def wait_s(self, failure: ClientError, retries_done: int) -> float | None:
        """Seconds to wait before the next try; None when there is none."""
        if isinstance(failure, self.never_after):
            return None
        if not failure.retryable or retries_done >= self.max_retries:
            return None
        bound_s = min(self.max_wait_s, self.base_s * 2**retries_done)
        jitter_s = random.uniform(0, bound_s)  # noqa: S311  spreads load, guards nothing
        asked_s = failure.retry_after_s if isinstance(failure, StatusError) else None
        if asked_s is None:
            return jitter_s
        return None if asked_s > self.max_retry_after_s else asked_s + jitter_s


NO_RETRIES = RetryPolicy(max_retries=0)
