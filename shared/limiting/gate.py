"""Lets a tenant's calls through, or refuses them, by the limits that the authorizer handed down.

One for each environment. A tenant without limits costs a look into one dict; the first tenant with
limits loads the client that the counters need, in the thread that pays.
"""

from __future__ import annotations

import math
import time
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Final

from shared.errors import QuotaUsedError, RateLimitedError, StoreUnavailableError
from shared.limiting.counters import DAY_S, Bucket, day_ends_at
from shared.limiting.fields import Left, Policy, limit_fields, refused_fields
from shared.limiting.meter import Meter
from shared.principal import LOOK_UP
from shared.schema.tenants import NO_LIMITS, TenantLimits, read_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor

    from shared.limiting.counters import Counters, Taken
    from shared.limiting.rows import Rows

LEASE_S: Final = 0.25
"""An environment's lease: so much of a second's calls, and `LEASE_CALLS` at least."""
LEASE_CALLS: Final = 4
LEASE_DAY_SHARE: Final = 1000
"""And such a part of a day's bytes, within these bounds."""
LEASE_BYTES: Final = (64 * 1024, 64 * 1024 * 1024)
_TEXTS_MAX: Final = 1000


def lease_calls(limits: TenantLimits) -> int:
    """Calls that an environment may let through before it pays for them."""
    rate_per_s = limits.requests_per_s or 0
    return min(limits.burst_size, max(LEASE_CALLS, math.ceil(rate_per_s * LEASE_S)))


def lease_bytes(per_day: int) -> int:
    """Bytes that an environment may let through before it pays for them."""
    least, most = LEASE_BYTES
    return min(per_day, max(least, min(most, per_day // LEASE_DAY_SHARE)))


class _Known(dict[str, TenantLimits | None]):
    """Read once for each text. The empty one stands for the stage's own limits.

    `unread`: what `LOOK_UP` stands for until it is looked up.
    """

    def __init__(self, defaults: TenantLimits | None, unread: TenantLimits | None) -> None:
        self._always = {"": defaults, LOOK_UP: unread}
        super().__init__(self._always)

    def __missing__(self, text: str) -> TenantLimits | None:
        if len(self) >= _TEXTS_MAX:
            self.clear()
            self.update(self._always)
        limits = self[text] = _some(read_limits(text))
        return limits


class Gate:
    """`connect` makes the shared counters, once; `defaults`: limits of tenants that have no row.

    `rows`: where limits are that nobody has handed down; None: there are only defaults.
    """

    def __init__(
        self,
        connect: Callable[[], Counters],
        *,
        defaults: TenantLimits = NO_LIMITS,
        rows: Rows | None = None,
        clock: Callable[[], float] = time.time,
        executor: Executor | None = None,
    ) -> None:
        self._connect = connect
        self._clock = clock
        self._executor = executor
        self._counters: Counters | None = None
        self._rows = rows
        known = _some(defaults)
        self.known: Final = _Known(known, known if rows is None else NO_LIMITS)
        """Limits by the text that the authorizer handed down; None: nothing is limited."""
        self._tenants: dict[str, _Tenant] = {}
        self._lock = Lock()

    def admit(self, tenant: str, text: str, size_bytes: int) -> Standing | None:
        """Let a call with such a body through, and say where its tenant stands; None: calls are not counted.

        `text`: the member `limits` of the caller's context. Raises `RateLimitedError`,
        `QuotaUsedError`, and `StoreUnavailableError` where that cannot be known.
        """
        limits = self.limits(tenant, text)
        if limits.requests_per_s is None and limits.bytes_per_day is None:
            return None
        return self._tenant(tenant, limits).admit(size_bytes, self._make_executor())

    def charge(self, tenant: str, text: str, size_bytes: int) -> None:
        """Spend bytes that come by another way, for a call that was let through.

        Raises `QuotaUsedError`, and `StoreUnavailableError` where that cannot be known.
        """
        limits = self.limits(tenant, text)
        if limits.bytes_per_day is not None:
            self._tenant(tenant, limits).charge(size_bytes, self._make_executor())

    def limits(self, tenant: str, text: str) -> TenantLimits:
        """What holds for a tenant. Raises `StoreUnavailableError` where nobody has said so yet."""
        if text == LOOK_UP and self._rows is not None:
            return self._rows.limits(tenant, self._make_executor())
        return self.known[text] or NO_LIMITS

    def settle(self) -> None:
        """Pay for all that was spent, in the thread that calls."""
        for tenant in list(self._tenants.values()):
            tenant.settle()

    def _tenant(self, name: str, limits: TenantLimits) -> _Tenant:
        found = self._tenants.get(name)
        if found is not None and found.limits == limits:
            return found
        with self._lock:
            found = self._tenants.get(name)
            if found is None:
                found = self._tenants[name] = _Tenant(name, self._counted, self._clock)
            found.limit(limits)
            return found

    def _counted(self) -> Counters:
        if self._counters is None:
            self._counters = self._connect()
        return self._counters

    def _make_executor(self) -> Executor:
        if self._executor is None:
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - most environments need none

            self._executor = ThreadPoolExecutor(1, "laneway-limits")
        return self._executor


class Standing:
    """Where a tenant stands after a call that was let through."""

    def __init__(self, tenant: _Tenant) -> None:
        self._tenant = tenant

    def fields(self) -> Mapping[str, str]:
        """Header fields for the answer."""
        return limit_fields(self._tenant.standing())


class _Tenant:
    """The meters of one tenant."""

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
        for meter in (self._calls, self._bytes):
            if meter is not None:
                meter.settle()

    def standing(self) -> list[Left]:
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


def _some(limits: TenantLimits) -> TenantLimits | None:
    """None where neither calls nor bytes nor jobs are limited."""
    return None if limits == NO_LIMITS else limits


def _calls_policy(limits: TenantLimits) -> Policy:
    window_s = math.ceil(limits.burst_size / (limits.requests_per_s or 1))
    return Policy("requests", limits.burst_size, window_s)


def _bytes_policy(per_day: int) -> Policy:
    return Policy("bytes", per_day, DAY_S, "content-bytes")
