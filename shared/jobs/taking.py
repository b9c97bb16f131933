"""From a delivery to a leased job: reads the message, claims or admits, and turns away what is not ours.

Makes the guards of a delivery: who else holds the job, whether it has ended, whose queue it belongs
to. Safe to use from several threads at once.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final

import orjson

from shared.errors import (
    InternalError,
    LanewayError,
    StoreUnavailableError,
    TooLargeError,
    UnavailableError,
)
from shared.jobs.delivery import (
    DONE,
    FORWARDED,
    Bury,
    Outcome,
    PoisonError,
    Retry,
    jitter_s,
    job_id,
    read_message,
    was_forwarded,
)
from shared.jobs.facts import JobFacts
from shared.jobs.messages import reference
from shared.jobs.submission import submission_of
from shared.jobs.work import Trouble, Work
from shared.limits import JOB_ATTEMPTS_MAX
from shared.results.rows import changed
from shared.results.store import (
    Busy,
    Claimed,
    Exhausted,
    Exists,
    JobFailure,
    JobKey,
    JobRow,
    Missing,
    Payload,
)
from shared.routing.lane import of_queue

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.jobs.work import Lease, Worker
    from shared.queues.protocol import Delivery, Queue
    from shared.results.store import Claim
    from shared.schema.job import SubmissionMessage

RAN: Final = frozenset({"succeeded", "failed"})
"""A message of a job that ended otherwise is no duplicate: it is the job's only one."""
CIRCUIT_FAILURES: Final = 3
"""So many calls that the store did not answer end the claiming of a delivery."""
ATTEMPTS_EXHAUSTED: Final = JobFailure(
    status_code=500,
    code="attempts_exhausted",
    error="every attempt ended without an answer: the worker was stopped or ran out of memory each time",
)

UNREADABLE: Final = InternalError("the job could not be taken; the worker's log says why")

Taken = Work | Outcome | Trouble


class Taking:
    """The taking of one invocation's deliveries; it stops asking a store that does not answer."""

    def __init__(self, worker: Worker, *, queue: str, lease: Lease) -> None:
        self._worker = worker
        self._queue = queue
        self._class, self._priority = of_queue(queue)
        self._lease = lease
        self._unanswered: list[LanewayError] = []

    def take(self, position: int, delivery: Delivery) -> Taken:
        """The job under our lease, or how the delivery ends without one."""
        try:
            message = read_message(delivery.body)
        except PoisonError as error:
            return Bury(str(error))
        if len(self._unanswered) >= CIRCUIT_FAILURES:
            return Trouble(position, None, self._unanswered[0])
        if isinstance(message, JobKey):
            return self._guarded(position, lambda: self._claim(position, message, delivery))
        return self._guarded(position, lambda: self._admit(position, message, delivery))

    def again(self, work: Work, delivery: Delivery) -> Taken:
        """Claim once more what was handed back."""
        return self._guarded(
            work.position, lambda: self._claim(work.position, work.row.key, delivery)
        )

    def _guarded(self, position: int, step: Callable[[], Taken]) -> Taken:
        """What `step` gives; its failure is this delivery's trouble, and costs the others nothing."""
        try:
            return step()
        except UnavailableError as error:
            if isinstance(error, StoreUnavailableError):
                self._unanswered.append(error)
            return Trouble(position, None, error)
        except Exception as error:  # noqa: BLE001  the others in the delivery hold leases by now
            self._worker.reporter.defect(error, None)
            return Trouble(position, None, UNREADABLE, infrastructure=False)

    def _claim(self, position: int, key: JobKey, delivery: Delivery) -> Taken:
        worker = self._worker
        now = worker.clock()
        claim = worker.store.claim(
            key, owner=self._lease.owner, lease_until=self._lease.until, now=now
        )
        if isinstance(claim, Claimed):
            return self._routed(position, claim.row, delivery)
        return self._turned_away(claim, key, now)

    def _turned_away(self, claim: Claim, key: JobKey, now: float) -> Outcome:
        worker = self._worker
        if isinstance(claim, Busy):
            return Retry(max(0.0, claim.lease_until - now) + jitter_s())
        if isinstance(claim, Missing):
            return Bury(f"no job {key} is known: its row was removed, or it never was one")
        row = claim.row
        if isinstance(claim, Exhausted):
            if worker.store.exhaust(row, failure=ATTEMPTS_EXHAUSTED, now=now):
                self._report(row, "failed", ATTEMPTS_EXHAUSTED)
        elif row.status == "queued":
            worker.store.expire(key, now=now)
        elif row.status in RAN:
            self._report(row, "duplicate")
        return DONE

    def _report(self, row: JobRow, outcome: str, failure: JobFailure | None = None) -> None:
        status, code = (failure.status_code, failure.code) if failure else (0, "ok")
        self._worker.reporter.job(JobFacts(row=row, outcome=outcome, status=status, code=code))

    def _routed(self, position: int, row: JobRow, delivery: Delivery) -> Taken:
        """The job, where it is for this queue; else it is sent on, once."""
        worker = self._worker
        if (row.pool, row.queue) == (worker.pool, self._queue):
            return Work(position, row)
        queue = worker.queues.get((row.pool, row.queue))
        if queue is None or was_forwarded(delivery):
            error = InternalError(
                f"the job belongs to the {row.queue} queue of pool {row.pool!r} and "
                f"arrived on the {self._queue} queue of pool {worker.pool!r}"
            )
            return Work(position, row, refusal=error)
        worker.store.release(row.key, fence=row.fence, now=worker.clock())
        queue.send(reference(row.key), tenant=row.key.tenant, attributes={FORWARDED: "1"})
        return DONE

    def _admit(self, position: int, message: SubmissionMessage, delivery: Delivery) -> Taken:
        worker = self._worker
        key = JobKey(worker.tenant, job_id(message, delivery))
        queue = worker.queues.get((worker.elsewhere.get(message.model, ""), self._queue))
        if queue is not None and not was_forwarded(delivery):
            return _send_on(delivery.body, key, queue)
        now = worker.clock()
        row, refusal = self._new_row(message, key, delivery, now)
        owner, until = self._lease
        admission = worker.store.admit(changed(row, lease_owner=owner, lease_until=until))
        if not isinstance(admission, Exists):
            return Work(position, admission.row, refusal=refusal)
        if admission.row.payload_digest != row.payload_digest:
            return Bury(f"job {key} exists with another payload; use a new id")
        return self._claim(position, key, delivery)

    def _new_row(
        self, message: SubmissionMessage, key: JobKey, delivery: Delivery, now: float
    ) -> tuple[JobRow, LanewayError | None]:
        """The row, and why it cannot run: whoever dropped the message has no other way to know."""
        try:
            submission = submission_of(message, latency_class=self._class, priority=self._priority)
            return self._worker.jobs.new_row(submission, key=key, now=now), None
        except UnavailableError:
            raise
        except LanewayError as error:
            return self._refused_row(message, key, delivery, now), error

    def _refused_row(
        self, message: SubmissionMessage, key: JobKey, delivery: Delivery, now: float
    ) -> JobRow:
        rules = self._worker.rules
        ttl_at = now + (message.ttl_s or rules.ttls_s[self._class])
        return JobRow(
            key=key,
            status="queued",
            model=message.model,
            version=message.version or "",
            pool=self._worker.pool,
            lane=self._worker.lane,
            latency_class=self._class,
            input=Payload(size_bytes=0, sha256="", inline=b""),
            payload_digest=hashlib.sha256(delivery.body.encode()).hexdigest(),
            created_at=now,
            ttl_at=ttl_at,
            timeout_s=message.timeout_s or rules.timeout_s,
            max_attempts=JOB_ATTEMPTS_MAX,
            purge_at=ttl_at + rules.retention_s,
            webhook=message.webhook,
            metadata=message.metadata,
            priority=self._priority,
        )


def _send_on(body: str, key: JobKey, queue: Queue) -> Outcome:
    """A message for another pool's model goes there, with its id: the other queue gives it another.

    One that cannot be written again is buried: it would come again for nothing.
    """
    try:
        written = json.dumps({**orjson.loads(body), "id": key.id}, separators=(",", ":"))
        queue.send(written, tenant=key.tenant, attributes={FORWARDED: "1"})
    except (RecursionError, TooLargeError):
        return Bury("the message is for another pool, and too large or nested too deep to go there")
    return DONE
