"""How a row may change, as pure functions: what a write makes of it, and why a write is refused.

The store in memory applies these; the one on DynamoDB says the same in condition expressions and
asks `refusal` what a refused write has met. Both pass tests/contract/results.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from shared.limits import JOB_INLINE_BYTES_MAX
from shared.results.rows import changed
from shared.results.store import Busy, Exhausted, Finished, Missing
from shared.schema.status import TERMINAL

if TYPE_CHECKING:
    from shared.results.rows import JobFailure, JobResult, JobRow, Payload, RunFacts
    from shared.schema.status import JobStatus

RELEASED_DUE_S: Final = 900.0
"""When somebody looks after a released job whose message did not come again."""
FAILURE_LENGTH_MAX: Final = 4096
"""Characters of a failure's message that are kept: it may quote what a caller sent."""


def is_gone(row: JobRow | None, *, now: float) -> bool:
    """Absent, or ended and past its time, whether or not it has been removed yet."""
    return row is None or (row.status in TERMINAL and row.purge_at <= now)


def created(row: JobRow) -> JobRow:
    """A new row as `create` keeps it; raises `ValueError` where the input belongs on S3."""
    check_inline(row.input)
    return changed(
        row,
        status="queued",
        purge_at=_whole(row.purge_at),
        attempt=0,
        fence=0,
        lease_owner=None,
        lease_until=0.0,
        unsent_at=row.created_at if row.unsent_at is None else row.unsent_at,
        due_at=row.ttl_at if row.due_at is None else row.due_at,
    )


def admitted(row: JobRow) -> JobRow:
    """A new row as `admit` keeps it; raises `ValueError` where it brings no lease."""
    check_inline(row.input)
    if not row.lease_owner or row.lease_until <= row.created_at:
        raise ValueError("admit takes a row with lease_owner and a lease_until after created_at")
    return changed(
        row,
        status="running",
        purge_at=_whole(row.purge_at),
        attempt=1,
        fence=1,
        started_at=row.created_at if row.started_at is None else row.started_at,
        unsent_at=None,
        due_at=row.lease_until,
    )


def refusal(row: JobRow | None, *, now: float) -> Busy | Finished | Exhausted | Missing | None:
    """Why the row cannot be claimed; None: it can."""
    if row is None or is_gone(row, now=now):
        return Missing()
    if row.status in TERMINAL:
        return Finished(row)
    if row.status == "running" and row.lease_until > now:
        return Busy(row.lease_until)
    if row.attempt >= row.max_attempts:
        return Exhausted(row)
    if row.attempt == 0 and row.ttl_at <= now:
        return Finished(row)
    return None


def claimed(row: JobRow, *, owner: str, lease_until: float, now: float) -> JobRow:
    """The row under a new lease."""
    return changed(
        row,
        status="running",
        attempt=row.attempt + 1,
        fence=row.fence + 1,
        lease_owner=owner,
        lease_until=lease_until,
        started_at=now,
        unsent_at=None,
        due_at=lease_until,
    )


def released(row: JobRow, *, charged: bool, due_at: float) -> JobRow:
    """The row handed back."""
    return changed(
        row,
        status="queued",
        attempt=row.attempt if charged else row.attempt - 1,
        lease_owner=None,
        lease_until=0.0,
        started_at=None,
        due_at=due_at,
    )


def ended(
    row: JobRow,
    status: JobStatus,
    *,
    now: float,
    result: JobResult | None = None,
    failure: JobFailure | None = None,
    facts: RunFacts | None = None,
) -> JobRow:
    """The row after its last change of status."""
    return changed(
        row,
        status=status,
        lease_owner=None,
        lease_until=0.0,
        finished_at=now,
        result=result,
        failure=None if failure is None else bounded(failure),
        facts=facts,
        webhook_unsent=row.webhook is not None,
        unsent_at=now if row.webhook is not None else None,
        due_at=None,
        counted=False,
    )


def holds(row: JobRow | None, fence: int) -> bool:
    """Whether the row runs under this fence. A lapsed lease holds until another claim."""
    return row is not None and row.status == "running" and row.fence == fence


def repeats_ending(
    row: JobRow | None,
    status: JobStatus,
    *,
    now: float,
    fence: int | None = None,
    result: JobResult | None = None,
    failure: JobFailure | None = None,
) -> bool:
    """Whether the row ended by this very write, whose answer the client lost and asks for again."""
    return (
        row is not None
        and (row.status, row.finished_at) == (status, now)
        and fence in (None, row.fence)
        and row.result == result
        and row.failure == (None if failure is None else bounded(failure))
    )


def repeats_release(row: JobRow | None, fence: int) -> bool:
    """Whether the row was handed back under this fence, and nobody has claimed it since."""
    return row is not None and row.status == "queued" and row.fence == fence > 0


def can_exhaust(row: JobRow | None, *, fence: int, now: float) -> bool:
    """Whether nobody runs the row, nobody may, and nobody has claimed it since."""
    return (
        row is not None
        and row.fence == fence
        and row.attempt >= row.max_attempts
        and (row.status == "queued" or (row.status == "running" and row.lease_until <= now))
    )


def can_expire(row: JobRow | None, *, now: float) -> bool:
    """Whether the row waits for its first run and its ttl has passed."""
    return row is not None and row.status == "queued" and row.attempt == 0 and row.ttl_at <= now


def without_bytes(row: JobRow) -> JobRow:
    """The row as an index holds it: payloads without their inline bytes."""
    slim = replace(row, input=replace(row.input, inline=None))
    if row.result is None:
        return slim
    payload = replace(row.result.payload, inline=None)
    return replace(slim, result=replace(row.result, payload=payload))


def bounded(failure: JobFailure) -> JobFailure:
    """The failure with a message that fits in a row."""
    if len(failure.error) <= FAILURE_LENGTH_MAX:
        return failure
    return replace(failure, error=failure.error[: FAILURE_LENGTH_MAX - 1] + "…")


def check_inline(payload: Payload) -> None:
    """Raise `ValueError` for bytes that belong on S3: a row has 400 KiB for everything."""
    if payload.inline is not None and len(payload.inline) > JOB_INLINE_BYTES_MAX:
        raise ValueError(
            f"{len(payload.inline)} inline bytes; more than {JOB_INLINE_BYTES_MAX} go to S3 first"
        )


def _whole(seconds: float) -> float:
    """DynamoDB's time to live counts whole seconds."""
    return float(math.ceil(seconds))
