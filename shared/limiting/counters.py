"""The counters that all environments share: a bucket that fills by the second, and a day's bytes.

Behind the `Counters` protocol are counters in memory and on a DynamoDB table (`counters_dynamodb`);
both pass one contract suite. Times are epoch seconds of the caller's clock.
"""

from __future__ import annotations

import math
from threading import Lock
from typing import Final, NamedTuple, Protocol

DAY_S: Final = 86_400
ROUNDING: Final = 0.01
"""Of a token, given early: a float holds the seconds since 1970 to a quarter of a microsecond."""


class Taken(NamedTuple):
    """What came of asking a counter."""

    granted: int
    """Of what was asked for, from nothing to all."""
    left: int
    """In the counter afterwards."""
    again_at: float
    """When there will be more, where not all was granted."""


class Bucket(NamedTuple):
    """`burst` tokens at most, of which `rate_per_s` come back each second."""

    rate_per_s: float
    burst: int

    @property
    def fill_s(self) -> float:
        """How long an empty bucket takes to be full."""
        return self.burst / self.rate_per_s

    def tokens(self, full_at: float, now: float) -> int:
        """Whole tokens in a bucket that will be full at `full_at`: all that is kept of its state."""
        missing = max(0.0, full_at - now) * self.rate_per_s
        return max(0, math.floor(self.burst - missing + ROUNDING))

    def next_at(self, full_at: float) -> float:
        """When an empty bucket has its next token."""
        return full_at - (self.burst - 1) / self.rate_per_s


class Counters(Protocol):
    """Counts what tenants took, in one step each.

    Raises `StoreUnavailableError` when the counters cannot be reached; nothing was granted then,
    and what may have been taken is lost to the tenant, not gained.
    """

    def take_tokens(self, tenant: str, bucket: Bucket, amount: int, *, now: float) -> Taken:
        """Up to `amount` tokens of the tenant's bucket."""

    def take_bytes(
        self, tenant: str, per_day: int, amount: int, *, now: float, least: int = 0
    ) -> Taken:
        """Up to `amount` of the bytes that the tenant may still send on this day of UTC.

        Nothing, where there are fewer than `least`.
        """


def day_ends_at(now: float) -> float:
    """The next midnight of UTC."""
    return (now // DAY_S + 1) * DAY_S


class MemoryCounters:
    """Counters in dicts; safe to use from several threads."""

    def __init__(self) -> None:
        self._full_at: dict[str, float] = {}
        self._used: dict[tuple[str, float], int] = {}
        self._lock = Lock()

    def take_tokens(self, tenant: str, bucket: Bucket, amount: int, *, now: float) -> Taken:
        """Up to `amount` tokens."""
        with self._lock:
            full_at = max(now, self._full_at.get(tenant, now))
            granted = min(amount, bucket.tokens(full_at, now))
            full_at += granted / bucket.rate_per_s
            self._full_at[tenant] = full_at
            return Taken(granted, bucket.tokens(full_at, now), bucket.next_at(full_at))

    def take_bytes(
        self, tenant: str, per_day: int, amount: int, *, now: float, least: int = 0
    ) -> Taken:
        """Up to `amount` bytes of the day."""
        ends_at = day_ends_at(now)
        with self._lock:
            used = self._used.get((tenant, ends_at), 0)
            granted = max(0, min(amount, per_day - used))
            if granted < least:
                granted = 0
            self._used[tenant, ends_at] = used + granted
            return Taken(granted, max(0, per_day - used - granted), ends_at)
