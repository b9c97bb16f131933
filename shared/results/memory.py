"""Jobs in a dict: for tests, for users' own tests, and to measure what the machinery costs.

Safe to use from several threads.
"""

from __future__ import annotations

from dataclasses import replace
from heapq import nsmallest
from threading import Lock
from typing import TYPE_CHECKING

from shared.results.cursor import listed_at, read_cursor, write_cursor
from shared.results.rows import changed
from shared.results.store import Admission, Claim, Claimed, Exists, Page
from shared.results.transitions import (
    RELEASED_DUE_S,
    admitted,
    can_exhaust,
    can_expire,
    check_inline,
    claimed,
    created,
    ended,
    holds,
    is_gone,
    refusal,
    released,
    repeats_ending,
    repeats_release,
    without_bytes,
)
from shared.schema.status import TERMINAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from shared.results.rows import JobFailure, JobKey, JobResult, JobRow, RunFacts


class MemoryJobStore:
    """Implements `JobStore`; `clock` gives epoch seconds."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._rows: dict[JobKey, JobRow] = {}
        self._lock = Lock()

    def create(self, row: JobRow) -> JobRow | None:
        """Keep a new row, queued, with its outbox entry."""
        with self._lock:
            kept = self._find(row.key, now=self._clock())
            if kept is None:
                self._keep(created(row))
            return kept

    def get(self, key: JobKey) -> JobRow | None:
        """The row."""
        with self._lock:
            return self._find(key, now=self._clock())

    def list(
        self,
        tenant: str,
        *,
        cursor: str | None = None,
        limit: int = 50,
        status: str | None = None,
        model: str | None = None,
    ) -> Page:
        """Jobs of a tenant, newest first."""
        after = None if cursor is None else read_cursor(tenant, cursor)
        with self._lock:
            rows = [row for row in self._present() if row.key.tenant == tenant]
        rows.sort(key=listed_at, reverse=True)
        rows = [row for row in rows if after is None or listed_at(row) < after]
        more = len(rows) > limit
        rows = rows[:limit]
        wanted = [
            row for row in rows if status in (None, row.status) and model in (None, row.model)
        ]
        return Page(
            rows=tuple(without_bytes(row) for row in wanted),
            cursor=write_cursor(tenant, listed_at(rows[-1])) if more else None,
        )

    def sent(self, key: JobKey, *, due_at: float) -> bool:
        """Clear the outbox entry of a queued job."""
        while (row := self._rows.get(key)) is not None and row.status == "queued":
            if self._put(row, changed(row, unsent_at=None, due_at=due_at)):
                return True
        return False

    def claim(self, key: JobKey, *, owner: str, lease_until: float, now: float) -> Claim:
        """Take the lease; charges an attempt."""
        while True:
            row = self._rows.get(key)
            refused = refusal(row, now=now)
            if row is None or refused is not None:
                return refused  # type: ignore[return-value]  # None only where the row is there
            mine = claimed(row, owner=owner, lease_until=lease_until, now=now)
            if self._put(row, mine):
                return Claimed(mine)

    def admit(self, row: JobRow) -> Admission:
        """Keep a new row whose lease is taken already."""
        with self._lock:
            kept = self._find(row.key, now=self._clock())
            return Claimed(self._keep(admitted(row))) if kept is None else Exists(kept)

    def extend(self, key: JobKey, *, fence: int, lease_until: float) -> bool:
        """Keep the lease."""
        while (row := self._rows.get(key)) is not None and holds(row, fence):
            if self._put(row, changed(row, lease_until=lease_until, due_at=lease_until)):
                return True
        return False

    def release(
        self,
        key: JobKey,
        *,
        fence: int,
        now: float,
        charged: bool = False,
        due_at: float | None = None,
    ) -> bool:
        """Hand back."""
        due_at = now + RELEASED_DUE_S if due_at is None else due_at
        while (row := self._rows.get(key)) is not None and holds(row, fence):
            if self._put(row, released(row, charged=charged, due_at=due_at)):
                return True
        return repeats_release(row, fence)

    def succeed(
        self, key: JobKey, *, fence: int, result: JobResult, facts: RunFacts, now: float
    ) -> bool:
        """Publish the result."""
        check_inline(result.payload)
        while (row := self._rows.get(key)) is not None and holds(row, fence):
            if self._put(row, ended(row, "succeeded", now=now, result=result, facts=facts)):
                return True
        return repeats_ending(row, "succeeded", now=now, fence=fence, result=result)

    def fail(
        self, key: JobKey, *, fence: int, failure: JobFailure, facts: RunFacts | None, now: float
    ) -> bool:
        """End the job with a typed failure."""
        while (row := self._rows.get(key)) is not None and holds(row, fence):
            if self._put(row, ended(row, "failed", now=now, failure=failure, facts=facts)):
                return True
        return repeats_ending(row, "failed", now=now, fence=fence, failure=failure)

    def exhaust(self, row: JobRow, *, failure: JobFailure, now: float) -> bool:
        """End a job with no attempt left and no live lease."""
        with self._lock:
            kept = self._rows.get(row.key)
            if kept is None or not can_exhaust(kept, fence=row.fence, now=now):
                return repeats_ending(kept, "failed", now=now, fence=row.fence, failure=failure)
            self._keep(ended(kept, "failed", now=now, failure=failure))
            return True

    def cancel(self, key: JobKey, *, now: float) -> JobRow | None:
        """Cancel a job that has not ended."""
        with self._lock:
            row = self._find(key, now=now)
            if row is None or row.status in TERMINAL:
                return row
            return self._keep(ended(row, "canceled", now=now))

    def expire(self, key: JobKey, *, now: float) -> bool:
        """End a queued job whose ttl has passed."""
        with self._lock:
            row = self._rows.get(key)
            if row is None or not can_expire(row, now=now):
                return repeats_ending(row, "expired", now=now)
            self._keep(ended(row, "expired", now=now))
            return True

    def webhook_sent(self, key: JobKey) -> None:
        """Clear the outbox entry of the event."""
        with self._lock:
            row = self._rows.get(key)
            if row is not None and row.webhook_unsent:
                self._keep(replace(row, webhook_unsent=False, unsent_at=None))

    def postpone(self, key: JobKey, *, due_at: float) -> None:
        """Look again later."""
        with self._lock:
            row = self._rows.get(key)
            if row is not None and row.status not in TERMINAL:
                self._keep(replace(row, due_at=due_at))

    def unsent(self, *, before: float, limit: int) -> Sequence[JobRow]:
        """Rows with an outbox entry from before then, oldest first."""
        with self._lock:
            found = [(row.unsent_at, row) for row in self._present() if row.unsent_at is not None]
        return _oldest([(at, row) for at, row in found if at <= before], limit)

    def due(self, *, now: float, limit: int) -> Sequence[JobRow]:
        """Rows that somebody must look at by now, oldest first."""
        with self._lock:
            found = [(row.due_at, row) for row in self._present() if row.due_at is not None]
        return _oldest([(at, row) for at, row in found if at <= now], limit)

    def counted(self, tenant: str, *, up_to: int) -> int:
        """How many rows of the tenant are counted."""
        with self._lock:
            found = sum(row.counted and row.key.tenant == tenant for row in self._present())
        return min(found, up_to)

    def _find(self, key: JobKey, *, now: float) -> JobRow | None:
        row = self._rows.get(key)
        return None if is_gone(row, now=now) else row

    def _present(self) -> Iterator[JobRow]:
        now = self._clock()
        return (row for row in self._rows.values() if not is_gone(row, now=now))

    def _put(self, old: JobRow, new: JobRow) -> bool:
        """Keep `new` in the place of `old`; False: another thread was faster, and the row is another.

        A lock that is held while a row is made would often be held by a thread that the interpreter
        has just stopped, with all others waiting for it.
        """
        with self._lock:
            is_old = self._rows.get(old.key) is old
            if is_old:
                self._rows[old.key] = new
            return is_old

    def _keep(self, row: JobRow) -> JobRow:
        self._rows[row.key] = row
        return row


def _oldest(found: list[tuple[float, JobRow]], limit: int) -> Sequence[JobRow]:
    return [without_bytes(row) for _, row in nsmallest(limit, found, key=lambda pair: pair[0])]
