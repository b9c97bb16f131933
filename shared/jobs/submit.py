"""The one place that accepts jobs; `shared.jobs.ask` answers for them afterwards.

Accepted means that the row is committed: a broker that does not take the message changes nothing,
because the row is its own outbox. A failure of the store means that no job exists.

A small job takes three calls (create, send, sent), a large one the write of its input before them.
Runs no model and imports no inference.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shared.egress import check_webhook_url
from shared.errors import (
    ConflictError,
    InvalidRequestError,
    QueueUnavailableError,
    StoreUnavailableError,
    UnavailableError,
    UnsupportedClassError,
)
from shared.jobs.counted import kept_when_full
from shared.jobs.messages import reference
from shared.jobs.places import check_input_uri, input_key, upload_prefix
from shared.jobs.signature import check_body
from shared.limits import JOB_ATTEMPTS_MAX, PRESIGNED_S_MAX
from shared.results.payloads import BINARY_TYPE, claim_check
from shared.results.rows import JobKey, JobRow, Payload, changed
from shared.routing.lane import GPU, Lane, choose_lane
from shared.schema.wire import JSON_TYPE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.catalog import Catalog
    from shared.jobs.clock import Clock
    from shared.jobs.counted import Counted
    from shared.jobs.rules import JobRules
    from shared.jobs.submission import Submission
    from shared.queues.protocol import Queue
    from shared.results.payloads import PayloadStore, Upload
    from shared.results.store import JobStore

UPLOAD_S: Final = PRESIGNED_S_MAX
"""How long a place for an upload can be used."""
_KEY_LENGTH: Final = 40


@dataclass(frozen=True, slots=True)
class Accepted:
    """A committed job; `created` False: it was there already, and nothing was done."""

    row: JobRow
    created: bool
    sent: bool = False
    """Whether the broker confirmed the message; if not, the sweeper sends it."""


class Jobs:
    """Accepts the jobs of a stage. `queues`: by pool and queue; `beside`: what counts like jobs against a limit."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        store: JobStore,
        payloads: PayloadStore,
        queues: Mapping[tuple[str, str], Queue],
        rules: JobRules,
        clock: Clock,
        beside: Sequence[Counted] = (),
    ) -> None:
        self._counts = (store, *beside)
        self._catalog = catalog
        self._store = store
        self._payloads = payloads
        self._queues = queues
        self._rules = rules
        self._clock = clock

    def submit(
        self,
        submission: Submission,
        *,
        tenant: str,
        principal: str = "queue",
        request_id: str = "",
        job_id: str | None = None,
        idempotency_key: str | None = None,
        jobs_max: int | None = None,
    ) -> Accepted:
        """Accept a job, once for each id or key of a tenant; `principal` asks for it, by the call `request_id`.

        `jobs_max`: how many unfinished jobs and batches the tenant may have. Raises a `CallerError`, among them
        `ConflictError` and `TooManyJobsError`, or `UnavailableError`: then no job was made.
        """
        now = self._clock()
        key = JobKey(tenant, job_id or _derived_id(tenant, idempotency_key) or new_id(now))
        kept = None
        if jobs_max is not None:
            kept = kept_when_full(
                self._counts, key.tenant, jobs_max, get=lambda: self._store.get(key)
            )
        if kept is None:
            row = changed(
                self.new_row(submission, key=key, now=now),
                principal=principal,
                request_id=request_id,
                counted=jobs_max is not None,
            )
            kept = self._store.create(row)
            if kept is None:
                return Accepted(row, created=True, sent=self._send(row))
        if kept.payload_digest != submission.digest:
            raise _conflict(key, idempotency_key)
        return Accepted(kept, created=False)

    def new_row(self, submission: Submission, *, key: JobKey, now: float) -> JobRow:
        """The row of a submission, checked and routed; a large input is on S3 then.

        Raises a `CallerError` for what can be known to fail, `UnavailableError` where the pool has
        no queue or the input cannot be written.
        """
        model, version = self._catalog.find(submission.model, submission.version)
        lane = choose_lane(model, submission.latency_class, submission.priority)
        self._check_lane(lane, model.name)
        self._check_alias(submission.result_alias)
        if submission.webhook is not None:
            check_webhook_url(submission.webhook, self._rules.receivers)
        if submission.body is not None:
            check_body(submission.body, version, header_length=submission.header_length)
        ttl_at = now + (submission.ttl_s or self._rules.ttls_s[submission.latency_class])
        return JobRow(
            key=key,
            status="queued",
            model=model.name,
            version=version.version,
            pool=model.pool,
            lane=lane.name,
            latency_class=submission.latency_class,
            input=self._payload(submission, key),
            payload_digest=submission.digest,
            created_at=now,
            ttl_at=ttl_at,
            timeout_s=submission.timeout_s or self._rules.timeout_s,
            max_attempts=JOB_ATTEMPTS_MAX,
            purge_at=ttl_at + self._rules.retention_s,
            webhook=submission.webhook,
            result_alias=submission.result_alias,
            metadata=submission.metadata,
            priority=submission.priority,
        )

    def upload(self, tenant: str, *, max_bytes: int) -> tuple[str, float, Upload]:
        """A fresh place for an upload: its URI, when it expires, and how to write there."""
        now = self._clock()
        key = f"{upload_prefix(tenant)}{new_id(now)}"
        place = self._payloads.presign_upload(key, max_bytes=max_bytes, expires_s=UPLOAD_S)
        return f"s3://{self._rules.bucket}/{key}", now + UPLOAD_S, place

    def _check_lane(self, lane: Lane, model: str) -> None:
        if (lane.pool, lane.queue) in self._queues:
            return
        if lane.name == GPU:
            raise UnsupportedClassError(
                f"model {model!r} runs on a gpu, and this stage has no gpu lane", field="model"
            )
        raise UnavailableError(f"pool {lane.pool!r} has no {lane.queue} queue in this stage")

    def _check_alias(self, alias: str | None) -> None:
        if alias is None or alias in self._rules.result_aliases:
            return
        listed = ", ".join(repr(name) for name in self._rules.result_aliases) or "none"
        raise InvalidRequestError(
            f"result_alias {alias!r} is not listed by this stage; listed: {listed}",
            field="result_alias",
        )

    def _payload(self, submission: Submission, key: JobKey) -> Payload:
        if submission.body is None:
            place = check_input_uri(submission.uri or "", tenant=key.tenant, rules=self._rules)
            return Payload(
                size_bytes=0, sha256="", s3_key=place, header_length=submission.header_length
            )
        return claim_check(
            self._payloads,
            submission.body,
            key=input_key(key),
            content_type=JSON_TYPE if submission.header_length is None else BINARY_TYPE,
            header_length=submission.header_length,
        )

    def _send(self, row: JobRow) -> bool:
        queue = self._queues[row.pool, row.queue]
        return send_job(row, queue=queue, store=self._store, rules=self._rules, clock=self._clock)


def send_job(row: JobRow, *, queue: Queue, store: JobStore, rules: JobRules, clock: Clock) -> bool:
    """Whether the broker has the message of a committed job. The job is accepted either way."""
    try:
        queue.send(reference(row.key), tenant=row.key.tenant)
        due_at = rules.lost_at(row.latency_class, pool=row.pool, sent_at=clock(), ttl_at=row.ttl_at)
        store.sent(row.key, due_at=due_at)
    except (QueueUnavailableError, StoreUnavailableError):
        return False
    return True


def new_id(now: float) -> str:
    """An id that nobody can guess and that sorts by time: 12 hex digits of ms, 20 at random."""
    return f"{int(now * 1000):012x}{secrets.token_hex(10)}"


def _derived_id(tenant: str, idempotency_key: str | None) -> str | None:
    """The same id for the same key of the same tenant."""
    if idempotency_key is None:
        return None
    digest = hashlib.sha256(f"{tenant}\0{idempotency_key}".encode()).hexdigest()
    return f"k-{digest[:_KEY_LENGTH]}"


def _conflict(key: JobKey, idempotency_key: str | None) -> ConflictError:
    if idempotency_key is None:
        return ConflictError(f"job {key.id!r} exists with another payload; use a new id")
    return ConflictError(
        f"this Idempotency-Key belongs to job {key.id!r}, which has another payload; use a new key",
        field="Idempotency-Key",
    )
