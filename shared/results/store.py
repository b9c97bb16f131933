"""The job store: one row per job, and the only writes that it allows.

A row is a lease. Whoever runs the job holds a fence, a number that grows with every claim, and each
later write is conditional on it: an owner that was given up on cannot publish, fail or hand back
what another owner now runs. A row is its own outbox too: `unsent_at` until its message is on a
queue, `due_at` when somebody must next look at it; a row without `due_at` has ended.

    method    from                                   to                what else changes
    create    absent                                 queued            unsent, due at ttl_at
    admit     absent                                 running           attempt 1, fence 1, lease
    sent      queued                                 queued            not unsent, due as told
    claim     queued, attempts left, ttl ahead (*)   running           attempt+1, fence+1, lease, not unsent
    claim     running, lease lapsed, attempts left   running           attempt+1, fence+1, lease
    extend    running, same fence                    running           lease_until, due with it
    release   running, same fence                    queued            attempt-1 unless charged, no lease
    succeed   running, same fence                    succeeded         result, facts
    fail      running, same fence                    failed            failure, facts
    exhaust   no attempts left, no live lease,
              same fence                             failed            failure
    cancel    queued, running                        canceled
    expire    queued, never ran, ttl passed          expired
    postpone  queued, running                        the same          due as told

    (*) ttl ahead, or it ran before: a ttl bounds the wait for the first run. A released attempt
    that was not charged did not run.

Each of the five endings removes the lease, `due_at`, `counted` and the message's outbox entry, sets
`finished_at`, and opens the webhook's outbox entry where the job has a webhook. Everything else is
refused, and nothing changes. A write is conditional on the row alone, so it may be repeated by a
client that lost the answer: the repetition gives what the first one gave.

DynamoDB's conditions know no time, so `now` is the caller's clock. A clock that runs ahead takes a
lease early, and costs a run; the fence still lets only one of the two owners publish.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from shared.results.rows import JobFailure, JobKey, JobResult, JobRow, Payload, RunFacts

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "Admission",
    "Busy",
    "Claim",
    "Claimed",
    "Exhausted",
    "Exists",
    "Finished",
    "JobFailure",
    "JobKey",
    "JobResult",
    "JobRow",
    "JobStore",
    "Missing",
    "Page",
    "Payload",
    "RunFacts",
]


@dataclass(frozen=True, slots=True)
class Claimed:
    """The lease is the caller's; `row.fence` is the token of every later write."""

    row: JobRow


@dataclass(frozen=True, slots=True)
class Busy:
    """Another owner holds the lease until then."""

    lease_until: float


@dataclass(frozen=True, slots=True)
class Finished:
    """The job has ended; or it is still `queued` and its ttl passed before it ever ran: `expire`."""

    row: JobRow


@dataclass(frozen=True, slots=True)
class Exhausted:
    """No attempt is left and no lease is alive; `exhaust` ends the job."""

    row: JobRow


@dataclass(frozen=True, slots=True)
class Missing:
    """No such job."""


@dataclass(frozen=True, slots=True)
class Exists:
    """The key is taken, by this row; it may be claimed where it is the same submission."""

    row: JobRow


Claim = Claimed | Busy | Finished | Exhausted | Missing
Admission = Claimed | Exists


@dataclass(frozen=True, slots=True)
class Page:
    """Jobs of a tenant, newest first."""

    rows: Sequence[JobRow]
    cursor: str | None


class JobStore(Protocol):
    """Every method is one conditional write or one read; none of them waits.

    Rows of `list`, `unsent` and `due` come from an index: they may lag a moment behind, and their
    payloads have no `inline` bytes. Whatever is decided on them is checked again by the write.

    Raises `StoreUnavailableError` when the store cannot be reached or is throttled.
    """

    def create(self, row: JobRow) -> JobRow | None:
        """Keep a new row, queued, with its outbox entry.

        Gives the row that has the key already, or None. `unsent_at` is `created_at` and `due_at`
        is `ttl_at` where the row does not say.
        """

    def get(self, key: JobKey) -> JobRow | None:
        """The row, read consistently."""

    def list(
        self,
        tenant: str,
        *,
        cursor: str | None = None,
        limit: int = 50,
        status: str | None = None,
        model: str | None = None,
    ) -> Page:
        """Jobs of a tenant, newest first; a filtered page may hold fewer than `limit`.

        Raises `InvalidRequestError` for a cursor that `list` did not give to this tenant.
        """

    def sent(self, key: JobKey, *, due_at: float) -> bool:
        """The broker has the message: clear the outbox entry, look again at `due_at`.

        False where the job has ended or runs already.
        """

    def claim(self, key: JobKey, *, owner: str, lease_until: float, now: float) -> Claim:
        """Take the lease of a queued job, or of one whose lease has lapsed; charges an attempt."""

    def admit(self, row: JobRow) -> Admission:
        """Keep a new row whose lease (`lease_owner`, `lease_until`) is taken with it.

        `Claimed` with `attempt` 1 and `fence` 1, or `Exists`.
        """

    def extend(self, key: JobKey, *, fence: int, lease_until: float) -> bool:
        """Keep the lease; False: it is lost, stop the work."""

    def release(
        self,
        key: JobKey,
        *,
        fence: int,
        now: float,
        charged: bool = False,
        due_at: float | None = None,
    ) -> bool:
        """Hand back: queued again, and the attempt is given back unless `charged`.

        The message is expected to come again; `due_at` says when to look whether it did, a quarter
        of an hour from now where it is None.
        """

    def succeed(
        self, key: JobKey, *, fence: int, result: JobResult, facts: RunFacts, now: float
    ) -> bool:
        """Publish the result by one pointer; False: the lease is lost and nothing changed."""

    def fail(
        self, key: JobKey, *, fence: int, failure: JobFailure, facts: RunFacts | None, now: float
    ) -> bool:
        """End the job with a typed failure; False: the lease is lost and nothing changed."""

    def exhaust(self, row: JobRow, *, failure: JobFailure, now: float) -> bool:
        """End a job with no attempt left and no live lease; conditional on the row's fence."""

    def cancel(self, key: JobKey, *, now: float) -> JobRow | None:
        """Cancel a job that has not ended; gives the row as it then stands, None for no such job."""

    def expire(self, key: JobKey, *, now: float) -> bool:
        """End a queued job whose ttl has passed before it ever ran."""

    def webhook_sent(self, key: JobKey) -> None:
        """The broker has the event: clear its outbox entry."""

    def postpone(self, key: JobKey, *, due_at: float) -> None:
        """Look again later; nothing where the job has ended."""

    def unsent(self, *, before: float, limit: int) -> Sequence[JobRow]:
        """Rows with an outbox entry (message or webhook) from before then, oldest first."""

    def due(self, *, now: float, limit: int) -> Sequence[JobRow]:
        """Rows that somebody must look at by now, oldest first."""

    def counted(self, tenant: str, *, up_to: int) -> int:
        """How many rows of the tenant are `counted` and have not ended; `up_to` where there are more.

        From an index, which the endings themselves keep: it lags behind, and it cannot drift.
        """
