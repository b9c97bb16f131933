"""Limits of tenants whose callers came by no authorizer of ours (AWS IAM): read from the table, and kept.

A tenant's first call in an environment waits for its row. Later the row is read again beside the calls.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Final

from shared.errors import LanewayError
from shared.schema.tenants import NO_LIMITS, TenantLimits, merged

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from shared.limiting.tenants import TenantRow

    Read = Callable[[str], TenantRow | None]

KEPT_S: Final = 60.0
"""After so long a row is read again; a new limit holds within this, as one that is handed down."""
UNREACHABLE_S: Final = 5.0
"""Between two reads of which the first failed."""
_TENANTS_MAX: Final = 1000


@dataclass(slots=True)
class _Kept:
    limits: TenantLimits
    again_at: float


class Rows:
    """`connect` opens the table, once: what it gives reads a tenant's row. `defaults`: what a row leaves out."""

    def __init__(
        self,
        connect: Callable[[], Read],
        *,
        defaults: TenantLimits = NO_LIMITS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._defaults = defaults
        self._clock = clock
        self._row_of: Read | None = None
        self._kept: dict[str, _Kept] = {}
        self._lock = Lock()

    def limits(self, tenant: str, executor: Executor) -> TenantLimits:
        """What holds for a tenant; raises `StoreUnavailableError` where it was never read."""
        kept = self._kept.get(tenant)
        if kept is None:
            return self._read(tenant)
        if self._is_due(kept):
            executor.submit(self._read_again, tenant)
        return kept.limits

    def _is_due(self, kept: _Kept) -> bool:
        """Whether somebody must read it again: who asks first does."""
        with self._lock:
            now = self._clock()
            due = now >= kept.again_at
            if due:
                kept.again_at = now + UNREACHABLE_S
            return due

    def _read(self, tenant: str) -> TenantLimits:
        if self._row_of is None:
            self._row_of = self._connect()
        row = self._row_of(tenant)
        limits = self._defaults if row is None else merged(self._defaults, row.limits)
        with self._lock:
            if len(self._kept) >= _TENANTS_MAX:
                self._kept.clear()
            self._kept[tenant] = _Kept(limits, self._clock() + KEPT_S)
        return limits

    def _read_again(self, tenant: str) -> None:
        """What was read before holds on where the table does not answer."""
        try:
            self._read(tenant)
        except LanewayError:
            return
