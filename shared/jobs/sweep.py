"""One pass of the sweeper: sends what no broker has confirmed, and looks at every job that is due.

    unsent, queued             the message is sent, again if need be
    unsent, ended              the webhook's event is sent
    due, ttl passed, never ran it expires
    due, queued                the message was not received in time: it is sent again
    due, running, lapsed       sent again, so that a worker takes over; without attempts left it fails
    due, pool gone             it fails

Everything is decided again by the conditional write behind it, and a message too many is a duplicate
that is dropped: several sweepers at once do no harm. What a pass handles is due later or not at all,
so that the next pass meets others.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from shared.errors import ModelUnavailableError, QueueUnavailableError
from shared.jobs.failures import failure_of
from shared.jobs.messages import event, reference
from shared.jobs.taking import ATTEMPTS_EXHAUSTED
from shared.queues.protocol import Message
from shared.results.store import Claimed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.jobs.clock import Clock
    from shared.jobs.rules import JobRules
    from shared.queues.protocol import Queue
    from shared.results.store import JobRow, JobStore

OWNER: Final = "sweeper"
CLAIM_S: Final = 60.0
UNCONFIRMED_S: Final = 60.0
"""When a row is looked at again whose message the broker did not take."""


class Sweeper:
    """Looks after the jobs of a stage. `queues`: by pool and queue."""

    def __init__(
        self,
        *,
        store: JobStore,
        queues: Mapping[tuple[str, str], Queue],
        events: Queue | None,
        rules: JobRules,
        clock: Clock,
        unsent_after_s: float = 10.0,
        rows_max: int = 500,
    ) -> None:
        """`events`: the webhooks' queue; `rows_max`: rows of each index that one pass handles."""
        self._store = store
        self._queues = queues
        self._events = events
        self._rules = rules
        self._clock = clock
        self._unsent_after_s = unsent_after_s
        self._rows_max = rows_max

    def sweep(self) -> Counter[str]:
        """One pass; gives how many rows met which end. Raises `StoreUnavailableError`."""
        done: Counter[str] = Counter()
        now = self._clock()
        before = now - self._unsent_after_s
        unsent = self._store.unsent(before=before, limit=self._rows_max)
        self._tell_events([row for row in unsent if row.webhook_unsent], done)
        self._send([row for row in unsent if not row.webhook_unsent], done)
        handled = {row.key for row in unsent}
        due = self._store.due(now=now, limit=self._rows_max)
        self._look_at([row for row in due if row.key not in handled], now, done)
        return done

    def _look_at(self, rows: Sequence[JobRow], now: float, done: Counter[str]) -> None:
        lost: list[JobRow] = []
        for row in rows:
            if row.status == "running" and row.lease_until > now:
                self._store.postpone(row.key, due_at=row.lease_until)
                done["postponed"] += 1
            elif row.attempt >= row.max_attempts:
                ended = self._store.exhaust(row, failure=ATTEMPTS_EXHAUSTED, now=now)
                done["exhausted"] += ended
            else:
                lost.append(row)
        self._send(lost, done)

    def _send(self, rows: Sequence[JobRow], done: Counter[str]) -> None:
        """Send the messages of rows; a row whose ttl has passed expires instead."""
        now = self._clock()
        waiting: dict[tuple[str, str], list[JobRow]] = {}
        for row in rows:
            if row.attempt == 0 and row.ttl_at <= now:
                done["expired"] += self._store.expire(row.key, now=now)
            elif (row.pool, row.queue) not in self._queues:
                self._give_up(row, done)
            else:
                waiting.setdefault((row.pool, row.queue), []).append(row)
        for place, members in waiting.items():
            self._send_to(self._queues[place], members, done)

    def _send_to(self, queue: Queue, rows: Sequence[JobRow], done: Counter[str]) -> None:
        messages = [Message(body=reference(row.key), tenant=row.key.tenant) for row in rows]
        confirmed = _confirmed(queue, messages)
        now = self._clock()
        for row, sent in zip(rows, confirmed, strict=True):
            if sent:
                self._note_sent(row, now)
            elif row.unsent_at is None:
                self._store.postpone(row.key, due_at=now + UNCONFIRMED_S)
            done["sent" if sent else "not_confirmed"] += 1

    def _note_sent(self, row: JobRow, now: float) -> None:
        due_at = self._rules.lost_at(
            row.latency_class,
            pool=row.pool,
            sent_at=now,
            ttl_at=row.ttl_at if row.attempt == 0 else float("inf"),
        )
        if row.status == "running":
            self._store.postpone(row.key, due_at=due_at)
        else:
            self._store.sent(row.key, due_at=due_at)

    def _tell_events(self, rows: Sequence[JobRow], done: Counter[str]) -> None:
        if self._events is None or not rows:
            return
        messages = [Message(body=event(row.key), tenant=row.key.tenant) for row in rows]
        for row, sent in zip(rows, _confirmed(self._events, messages), strict=True):
            if sent:
                self._store.webhook_sent(row.key)
            done["events" if sent else "not_confirmed"] += 1

    def _give_up(self, row: JobRow, done: Counter[str]) -> None:
        """End a job whose pool was taken out of the stage: nobody else ever will."""
        now = self._clock()
        claim = self._store.claim(row.key, owner=OWNER, lease_until=now + CLAIM_S, now=now)
        if not isinstance(claim, Claimed):
            return
        error = ModelUnavailableError(
            f"pool {row.pool!r} has no {row.queue} queue in this stage any more"
        )
        done["given_up"] += self._store.fail(
            row.key, fence=claim.row.fence, failure=failure_of(error), facts=None, now=now
        )


def _confirmed(queue: Queue, messages: Sequence[Message]) -> list[bool]:
    """Which messages the broker took; none where it does not answer, and the others still wait."""
    try:
        return [sent is not None for sent in queue.send_many(messages)]
    except QueueUnavailableError:
        return [False] * len(messages)
