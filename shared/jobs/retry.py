"""A failed job's second life: a new job from its stored input. Any other job is left alone.

The new id follows from the old one, so that a failed job has one retry however often, and by however
many people at once, it is asked for. Where the retry fails as well, it is the one to retry.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shared.errors import (
    ConflictError,
    GoneError,
    JobNotFoundError,
    NotFoundError,
    UnavailableError,
)
from shared.jobs.places import input_key
from shared.jobs.submit import send_job
from shared.results.payloads import BINARY_TYPE, claim_check, load
from shared.results.rows import JobKey, JobRow, Payload
from shared.schema.wire import JSON_TYPE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.jobs.clock import Clock
    from shared.jobs.rules import JobRules
    from shared.queues.protocol import Queue
    from shared.results.payloads import PayloadStore
    from shared.results.store import JobStore

_ID_LENGTH: Final = 40


class NotFailedError(Exception):
    """Only a failed job is retried; no caller of the API meets this."""

    def __init__(self, row: JobRow) -> None:
        super().__init__(f"job {row.key.id!r} is {row.status}; only a failed job is retried")
        self.row = row


@dataclass(frozen=True, slots=True)
class Retried:
    """The new job; `created` False: the failed one had been retried before, and nothing was done."""

    row: JobRow
    created: bool


class Retries:
    """Retries the failed jobs of a stage. `queues`: by pool and queue."""

    def __init__(
        self,
        *,
        store: JobStore,
        payloads: PayloadStore,
        queues: Mapping[tuple[str, str], Queue],
        rules: JobRules,
        clock: Clock,
    ) -> None:
        self._store = store
        self._payloads = payloads
        self._queues = queues
        self._rules = rules
        self._clock = clock

    def retry(self, key: JobKey) -> Retried:
        """Make the new job, with the model's version, options and input of the failed one.

        Raises `JobNotFoundError`, `NotFailedError` for a job that has not failed, `GoneError` where
        the input was removed, `UnavailableError` where no job could be made.
        """
        row = self._store.get(key)
        if row is None:
            raise JobNotFoundError(f"tenant {key.tenant!r} has no job {key.id!r}")
        if row.status != "failed":
            raise NotFailedError(row)
        if (row.pool, row.queue) not in self._queues:
            raise UnavailableError(f"pool {row.pool!r} has no {row.queue} queue any more")
        new = self._new_row(row)
        kept = self._store.create(new)
        if kept is None:
            queue = self._queues[new.pool, new.queue]
            send_job(new, queue=queue, store=self._store, rules=self._rules, clock=self._clock)
            return Retried(new, created=True)
        if kept.retry_of != key.id:
            raise ConflictError(f"job {kept.key.id!r} exists and is no retry of {key.id!r}")
        return Retried(kept, created=False)

    def _new_row(self, row: JobRow) -> JobRow:
        key = retry_key(row.key)
        now = self._clock()
        ttl_at = now + (row.ttl_at - row.created_at)
        return JobRow(
            key=key,
            status="queued",
            model=row.model,
            version=row.version,
            pool=row.pool,
            lane=row.lane,
            latency_class=row.latency_class,
            input=self._copied(row, key),
            payload_digest=row.payload_digest,
            created_at=now,
            ttl_at=ttl_at,
            timeout_s=row.timeout_s,
            max_attempts=row.max_attempts,
            purge_at=ttl_at + self._rules.retention_s,
            webhook=row.webhook,
            result_alias=row.result_alias,
            metadata=row.metadata,
            retry_of=row.key.id,
            priority=row.priority,
            principal=row.principal,
        )

    def _copied(self, row: JobRow, key: JobKey) -> Payload:
        """The input, for the new job to keep: the old one's is removed when its own time comes.

        An object that the caller named stays where it is; the worker asks again whether it may.
        """
        stored = row.input
        if stored.s3_key is not None and not stored.sha256:
            return stored
        if not stored.size_bytes:
            raise GoneError(
                f"job {row.key.id!r} was refused before it had an input; submit it anew"
            )
        try:
            data = load(self._payloads, stored)
        except NotFoundError as error:
            raise GoneError(f"the input of job {row.key.id!r} was removed") from error
        return claim_check(
            self._payloads,
            data,
            key=input_key(key),
            content_type=JSON_TYPE if stored.header_length is None else BINARY_TYPE,
            header_length=stored.header_length,
        )


def retry_key(key: JobKey) -> JobKey:
    """The key of a job's retry."""
    digest = hashlib.sha256(f"{key.tenant}\0{key.id}".encode()).hexdigest()
    return JobKey(key.tenant, f"r-{digest[:_ID_LENGTH]}")
