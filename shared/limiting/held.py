"""One tenant in one environment: its meters, where it stands, and how it is refused."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Final

from shared.errors import QuotaUsedError, RateLimitedError, StoreUnavailableError
from shared.limiting.counters import DAY_S, Bucket, day_ends_at
from shared.limiting.fields import Left, Policy, limit_fields, refused_fields
from shared.limiting.meter import Meter
from shared.schema.tenants import NO_LIMITS, TenantLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor

    from shared.limiting.counters import Counters, Taken

LEASE_S: Final = 0.25
"""An environment's lease: so much of a second's calls, and `LEASE_CALLS` at least."""
LEASE_CALLS: Final = 4
LEASE_DAY_SHARE: Final = 1000
"""And such a part of a day's bytes, within these bounds."""
LEASE_BYTES: Final = (64 * 1024, 64 * 1024 * 1024)


def lease_calls(limits: TenantLimits) -> int:
    """Calls that an environment may let through before it pays for them."""
    rate_per_s = limits.requests_per_s or 0
    return min(limits.burst_size, max(LEASE_CALLS, math.ceil(rate_per_s * LEASE_S)))


def lease_bytes(per_day: int) -> int:
    """Bytes that an environment may let through before it pays for them."""
    least, most = LEASE_BYTES
    return min(per_day, max(least, min(most, per_day // LEASE_DAY_SHARE)))


class Standing:
    """Where a tenant stands after a call that was let through."""

    def __init__(self, tenant: Held) -> None:
        self._tenant = tenant

    def fields(self) -> Mapping[str, str]:
        """Header fields for the answer."""
        return limit_fields(self._tenant.standing())


class Held:
    """One tenant, held to its limits by a meter for each."""

    def __init__(
        self, name: str, counters: Callable[[], Counters], clock: Callable[[], float]
    ) -> None:
        self._name = name
        self._counters = counters
        self._clock = clock
        self.limits = NO_LIMITS
        self._calls: Meter | None = None
        self._bytes: Meter | None = None

    def limit(self, limits: TenantLimits) -> None:
        """Hold the tenant to these from now on."""
        self.limits = limits
        if limits.requests_per_s is not None:
            self._calls = self._metered(
                self._calls,
                lease=lease_calls(limits),
                whole=limits.burst_size,
                take=partial(self._take_calls, Bucket(limits.requests_per_s, limits.burst_size)),
            )
        if limits.bytes_per_day is not None:
            self._bytes = self._metered(
                self._bytes,
                lease=lease_bytes(limits.bytes_per_day),
                whole=limits.bytes_per_day,
                take=partial(self._take_bytes, limits.bytes_per_day),
            )

    def admit(self, size_bytes: int, executor: Executor) -> Standing:
        """Spend a call and its bytes. A call without a body needs none of the day's bytes."""
        calls = self._calls
        if (
            self.limits.requests_per_s is not None
            and calls is not None
            and not calls.spend(1, executor)
        ):
            raise self._too_fast(calls)
        if size_bytes and self.limits.bytes_per_day is not None:
            self.charge(size_bytes, executor)
        return Standing(self)

    def charge(self, size_bytes: int, executor: Executor) -> None:
        """Spend bytes of the day."""
        day = self._bytes
        if day is not None and not day.spend(size_bytes, executor):
            raise self._used_up(day, size_bytes)

    def settle(self) -> None:
        """Pay for all that was spent, in the thread that calls."""
        for meter in (self._calls, self._bytes):
            if meter is not None:
                meter.settle()

    def standing(self) -> list[Left]:
        """What is left of each limit, as far as this environment knows."""
        limits, now = self.limits, self._clock()
        found: list[Left] = []
        if limits.requests_per_s is not None and self._calls is not None:
            left = self._calls.left
            more_in_s = (limits.burst_size - left) / limits.requests_per_s
            found.append(Left(_calls_policy(limits), left, more_in_s))
        if limits.bytes_per_day is not None and self._bytes is not None:
            found.append(
                Left(_bytes_policy(limits.bytes_per_day), self._bytes.left, day_ends_at(now) - now)
            )
        return found

    def _metered(
        self,
        meter: Meter | None,
        *,
        lease: int,
        whole: int,
        take: Callable[[int, int, float], Taken],
    ) -> Meter:
        if meter is None:
            return Meter(lease=lease, whole=whole, take=take, clock=self._clock)
        meter.change(lease=lease, whole=whole, take=take)
        return meter

    def _take_calls(self, bucket: Bucket, amount: int, _least: int, now: float) -> Taken:
        return self._counters().take_tokens(self._name, bucket, amount, now=now)

    def _take_bytes(self, per_day: int, amount: int, least: int, now: float) -> Taken:
        return self._counters().take_bytes(self._name, per_day, amount, now=now, least=least)

    def _too_fast(self, meter: Meter) -> RateLimitedError:
        limits, wait_s = self.limits, self._wait_s(meter)
        return RateLimitedError(
            f"your tenant may make {limits.requests_per_s:g} calls a second, {limits.burst_size} at "
            f"once; call again in {wait_s} s",
            headers=refused_fields(self.standing(), retry_after_s=wait_s),
        )

    def _used_up(self, meter: Meter, size_bytes: int) -> QuotaUsedError:
        if meter.more_at <= self._clock():
            raise StoreUnavailableError("the counters of limits do not answer in time; try again")
        wait_s = self._wait_s(meter)
        return QuotaUsedError(
            f"your tenant may send {self.limits.bytes_per_day} bytes a day, and what is left of them is "
            f"less than these {size_bytes}; the next day begins at midnight UTC",
            headers=refused_fields(self.standing(), retry_after_s=wait_s),
        )

    def _wait_s(self, meter: Meter) -> int:
        return max(1, math.ceil(meter.more_at - self._clock()))


def _calls_policy(limits: TenantLimits) -> Policy:
    window_s = math.ceil(limits.burst_size / (limits.requests_per_s or 1))
    return Policy("requests", limits.burst_size, window_s)


def _bytes_policy(per_day: int) -> Policy:
    return Policy("bytes", per_day, DAY_S, "content-bytes")
