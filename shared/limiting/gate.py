"""Lets a tenant's calls through, or refuses them, by the limits that the authorizer handed down.

One for each environment. A tenant without limits costs a look into one dict; the first tenant with
limits loads the client that the counters need, in the thread that pays.
"""

from __future__ import annotations

import time
from threading import Lock
from typing import TYPE_CHECKING, Final

from shared.principal import LOOK_UP
from shared.schema.tenants import NO_LIMITS, TenantLimits, read_limits

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from shared.limiting.counters import Counters
    from shared.limiting.held import Held, Standing
    from shared.limiting.rows import Rows

_TEXTS_MAX: Final = 1000


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
        self._tenants: dict[str, Held] = {}
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

    def _tenant(self, name: str, limits: TenantLimits) -> Held:
        found = self._tenants.get(name)
        if found is not None and found.limits == limits:
            return found
        with self._lock:
            found = self._tenants.get(name)
            if found is None:
                from shared.limiting.held import Held  # noqa: PLC0415 - most environments need none

                found = self._tenants[name] = Held(name, self._counted, self._clock)
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


def _some(limits: TenantLimits) -> TenantLimits | None:
    """None where neither calls nor bytes nor jobs are limited."""
    return None if limits == NO_LIMITS else limits
