"""Jobs on a DynamoDB table: every method of `JobStore` that writes is one conditional call.

What a refused write has met comes back with the refusal (ALL_OLD), never by a second read. A write
that is repeated because its answer was lost finds its own token, or what it wrote, and answers as
the first one would have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from shared.errors import StoreUnavailableError
from shared.results import expressions as ex
from shared.results import items, transitions
from shared.results.cursor import read_cursor, write_cursor
from shared.results.jobs_table import Item, JobsTable, Written
from shared.results.store import Admission, Claim, Claimed, Exists, Page
from shared.results.table import COUNTED, DUE, HOOKS, LISTED, SHARDS, UNSENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    from shared.results.rows import JobFailure, JobKey, JobResult, JobRow, RunFacts
    from shared.schema.status import JobStatus


class DynamoJobStore:
    """Implements `JobStore` on the table of `shared.results.table`; `clock` gives epoch seconds."""

    def __init__(self, client: DynamoDBClient, *, table: str, clock: Callable[[], float]) -> None:
        self._table = JobsTable(client, name=table)
        self._clock = clock

    def create(self, row: JobRow) -> JobRow | None:
        """Keep a new row, queued, with its outbox entry."""
        token = uuid4().hex
        refused_by = self._put(transitions.created(row), token)
        return None if refused_by is None else items.from_item(refused_by)

    def admit(self, row: JobRow) -> Admission:
        """Keep a new row whose lease is taken already."""
        token, admitted = uuid4().hex, transitions.admitted(row)
        refused_by = self._put(admitted, token)
        return Claimed(admitted) if refused_by is None else Exists(items.from_item(refused_by))

    def get(self, key: JobKey) -> JobRow | None:
        """The row, read consistently."""
        return _present(_row(self._table.get(items.key_of(key))), now=self._clock())

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
        wanted = {"status": status, "model": model}
        filters = [f"#{name} = :{name}" for name, value in wanted.items() if value is not None]
        values = {f":{name}": items.text(value) for name, value in wanted.items()}
        page = self._table.newest(
            LISTED,
            tenant,
            keep=" AND ".join([ex.IS_PRESENT, *filters]),
            values={**values, ":now": items.number(self._clock())},
            limit=limit,
            after=None if cursor is None else _position(tenant, read_cursor(tenant, cursor)),
        )
        last = page.last_key
        return Page(
            rows=tuple(_from_index(item) for item in page.items),
            cursor=write_cursor(tenant, last["listed_at"]["S"]) if last else None,
        )

    def sent(self, key: JobKey, *, due_at: float) -> bool:
        """Clear the outbox entry of a queued job."""
        values = {":due_at": items.number(due_at)}
        return self._update(key, ex.SENT, ex.IS_QUEUED, values).done

    def claim(self, key: JobKey, *, owner: str, lease_until: float, now: float) -> Claim:
        """Take the lease; charges an attempt."""
        token = uuid4().hex
        values = {
            ":lease": items.lease(owner, lease_until, token),
            ":now": items.number(now),
            ":due_at": items.number(lease_until),
        }
        written = self._update(key, ex.CLAIM, ex.CAN_CLAIM, values, wants_item=True)
        row = _row(written.item)
        if row is not None and (written.done or _lease_token(written.item) == token):
            return Claimed(row)
        refused = transitions.refusal(row, now=now)
        if refused is None:  # the rules are written in two languages; one suite holds them together
            raise StoreUnavailableError(f"job {key.id} could not be claimed; try again later")
        return refused

    def extend(self, key: JobKey, *, fence: int, lease_until: float) -> bool:
        """Keep the lease."""
        values = {":fence": items.number(fence), ":due_at": items.number(lease_until)}
        return self._update(key, ex.EXTEND, ex.HOLDS, values).done

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
        due_at = now + transitions.RELEASED_DUE_S if due_at is None else due_at
        values = {
            ":fence": items.number(fence),
            ":returned": items.number(0 if charged else 1),
            ":due_at": items.number(due_at),
        }
        written = self._update(key, ex.RELEASE, ex.HOLDS, values)
        return written.done or transitions.repeats_release(_row(written.item), fence)

    def succeed(
        self, key: JobKey, *, fence: int, result: JobResult, facts: RunFacts, now: float
    ) -> bool:
        """Publish the result."""
        transitions.check_inline(result.payload)
        attributes = {"result": items.result(result), "run": items.facts(facts)}
        if result.payload.inline is not None:
            attributes[items.RESULT_BYTES] = {"B": result.payload.inline}
        written = self._end(key, "succeeded", ex.HOLDS, attributes, now=now, fence=fence)
        return written.done or transitions.repeats_ending(
            _row(written.item), "succeeded", now=now, fence=fence, result=result
        )

    def fail(
        self, key: JobKey, *, fence: int, failure: JobFailure, facts: RunFacts | None, now: float
    ) -> bool:
        """End the job with a typed failure."""
        attributes = {"failure": items.failure(transitions.bounded(failure))}
        if facts is not None:
            attributes["run"] = items.facts(facts)
        written = self._end(key, "failed", ex.HOLDS, attributes, now=now, fence=fence)
        return written.done or transitions.repeats_ending(
            _row(written.item), "failed", now=now, fence=fence, failure=failure
        )

    def exhaust(self, row: JobRow, *, failure: JobFailure, now: float) -> bool:
        """End a job with no attempt left and no live lease."""
        attributes = {"failure": items.failure(transitions.bounded(failure))}
        written = self._end(row.key, "failed", ex.CAN_EXHAUST, attributes, now=now, fence=row.fence)
        return written.done or transitions.repeats_ending(
            _row(written.item), "failed", now=now, fence=row.fence, failure=failure
        )

    def cancel(self, key: JobKey, *, now: float) -> JobRow | None:
        """Cancel a job that has not ended."""
        written = self._end(key, "canceled", ex.IS_OPEN, {}, now=now, wants_item=True)
        return _present(_row(written.item), now=now)

    def expire(self, key: JobKey, *, now: float) -> bool:
        """End a queued job whose ttl has passed."""
        written = self._end(key, "expired", ex.CAN_EXPIRE, {}, now=now)
        return written.done or transitions.repeats_ending(_row(written.item), "expired", now=now)

    def webhook_sent(self, key: JobKey) -> None:
        """Clear the outbox entry of the event."""
        self._update(key, ex.HOOK_SENT, ex.HAS_OPEN_HOOK, {})

    def postpone(self, key: JobKey, *, due_at: float) -> None:
        """Look again later."""
        self._update(key, ex.POSTPONE, ex.IS_OPEN, {":due_at": items.number(due_at)})

    def unsent(self, *, before: float, limit: int) -> Sequence[JobRow]:
        """Rows with an outbox entry from before then, oldest first: one query for each shard."""
        rows = [*self._until(UNSENT, before, limit), *self._until(HOOKS, before, limit)]
        return sorted(rows, key=lambda row: row.unsent_at or 0.0)[:limit]

    def due(self, *, now: float, limit: int) -> Sequence[JobRow]:
        """Rows that somebody must look at by now, oldest first: one query for each shard."""
        return sorted(self._until(DUE, now, limit), key=lambda row: row.due_at or 0.0)[:limit]

    def counted(self, tenant: str, *, up_to: int) -> int:
        """How many rows of the tenant are counted."""
        return self._table.count(COUNTED, tenant, up_to=up_to)

    def _until(self, index: str, last: float, limit: int) -> Iterator[JobRow]:
        for shard in range(SHARDS):
            for item in self._table.until(index, str(shard), last, limit=limit):
                row = _from_index(item)
                if not transitions.is_gone(row, now=self._clock()):
                    yield row

    def _put(self, row: JobRow, token: str) -> Item | None:
        """The item that has the key already; None where this call put the row."""
        written = self._table.put(
            items.to_item(row, token=token),
            condition=ex.IS_ABSENT,
            values={":now": items.number(self._clock())},
        )
        refused_by = None if written.done else written.item
        repeated = refused_by is not None and refused_by["put_token"]["S"] == token
        return None if repeated else refused_by

    def _end(
        self,
        key: JobKey,
        status: JobStatus,
        condition: str,
        attributes: Mapping[str, Any],
        *,
        now: float,
        fence: int | None = None,
        wants_item: bool = False,
    ) -> Written:
        values = {
            ":ended": items.text(status),
            ":now": items.number(now),
            ":fence": items.number(fence),
            **{f":{name}": value for name, value in attributes.items()},
        }
        update = ex.end_with(attributes)
        return self._update(key, update, condition, values, wants_item=wants_item)

    def _update(
        self,
        key: JobKey,
        update: str,
        condition: str,
        values: Mapping[str, Any],
        *,
        wants_item: bool = False,
    ) -> Written:
        return self._table.update(
            items.key_of(key),
            update=update,
            condition=condition,
            values=values,
            wants_item=wants_item,
        )


def _row(item: Item | None) -> JobRow | None:
    return None if item is None else items.from_item(item)


def _from_index(item: Item) -> JobRow:
    return transitions.without_bytes(items.from_item(item))


def _present(row: JobRow | None, *, now: float) -> JobRow | None:
    return None if transitions.is_gone(row, now=now) else row


def _lease_token(item: Item | None) -> str | None:
    token: str | None = ((item or {}).get("lease", {}).get("M", {}).get("token", {})).get("S")
    return token


def _position(tenant: str, listed_at: str) -> Item:
    """The key of the index after which the next page begins."""
    job_id = listed_at.partition("#")[2]
    return {
        "pk": {"S": f"{tenant}/{job_id}"},
        "tenant": {"S": tenant},
        "listed_at": {"S": listed_at},
    }
