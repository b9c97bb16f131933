"""The one place that accepts batches, and answers for them: submit, retry, cancel, list.

Accepted means that the row is committed; it is due at once, so a message that the broker did not
take is sent by the sweep. Runs no model and imports no inference.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import orjson

from shared.errors import (
    ConflictError,
    InvalidRequestError,
    JobNotFoundError,
    NotFinishedError,
    QueueUnavailableError,
    UnavailableError,
    UnsupportedClassError,
)
from shared.jobs.batches.files import REFUSED, file_key
from shared.jobs.batches.messages import batch_message
from shared.jobs.batches.window import opens_at
from shared.jobs.counted import kept_when_full
from shared.jobs.places import check_input_uri
from shared.jobs.submit import new_id
from shared.results.batches import BatchKey, BatchRow
from shared.routing.lane import GPU, choose_lane
from shared.schema.batch_status import BATCH_TERMINAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.catalog import Catalog
    from shared.jobs.clock import Clock
    from shared.jobs.counted import Counted
    from shared.jobs.rules import JobRules
    from shared.queues.protocol import Queue
    from shared.results.batches import BatchList, BatchStore
    from shared.schema.batch import BatchSubmission

BATCH: Final = "batch"
SPLIT_DUE_S: Final = 60.0
"""When the sweep looks whether the splitter has heard of a new batch."""
_ENDPOINT: Final = re.compile(r"/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?/infer")
_ID_LENGTH: Final = 40


@dataclass(frozen=True, slots=True)
class AcceptedBatch:
    """A committed batch; `created` False: it was there already."""

    row: BatchRow
    created: bool


class Batches:
    """Accepts the batches of a stage. `pools`: those that have a queue of chunks; `beside`: as in `Jobs`."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        store: BatchStore,
        split: Queue,
        finish: Queue,
        pools: frozenset[str],
        rules: JobRules,
        clock: Clock,
        beside: Sequence[Counted] = (),
    ) -> None:
        self._counts = (store, *beside)
        self._catalog = catalog
        self._store = store
        self._split = split
        self._finish = finish
        self._pools = pools
        self._rules = rules
        self._clock = clock

    def submit(
        self,
        submission: BatchSubmission,
        *,
        tenant: str,
        principal: str = "queue",
        request_id: str = "",
        batch_id: str | None = None,
        idempotency_key: str | None = None,
        jobs_max: int | None = None,
    ) -> AcceptedBatch:
        """Accept a batch, once for each id or key of a tenant; `principal` asks for it, by the call `request_id`.

        `jobs_max`: how many unfinished jobs and batches the tenant may have. Raises a `CallerError`,
        `ConflictError` and `TooManyJobsError` among them, or `UnavailableError`: then there is none.
        """
        now = self._clock()
        derived = None if idempotency_key is None else _derived("k", tenant, idempotency_key)
        key = BatchKey(tenant, batch_id or derived or new_id(now))
        new = self._new_row(submission, key, now)
        row = replace(new, principal=principal, request_id=request_id)
        return self._accept(row, jobs_max)

    def retry(
        self,
        key: BatchKey,
        *,
        principal: str = "queue",
        request_id: str = "",
        jobs_max: int | None = None,
    ) -> AcceptedBatch:
        """A new batch of the lines that failed, once for each batch; `principal` asks for it, as above.

        Raises `NotFinishedError` for a batch that has not ended, `InvalidRequestError` for one in
        which no line failed.
        """
        row = self.get(key)
        if row.status not in BATCH_TERMINAL:
            raise NotFinishedError(f"batch {key.id!r} is {row.status}; retry it when it has ended")
        if not row.files.get(REFUSED):
            raise InvalidRequestError(
                f"batch {key.id!r} has no failed line to run again; POST /v2/batches runs an input anew",
                field="id",
            )
        now = self._clock()
        new_key = BatchKey(key.tenant, _derived("r", key.tenant, key.id))
        wait_s = self._rules.ttls_s[BATCH]
        return self._accept(
            self._routed(
                BatchRow(
                    key=new_key,
                    status="validating",
                    endpoint=row.endpoint,
                    model=row.model,
                    version=row.version,
                    pool=row.pool,
                    input=file_key(key, REFUSED),
                    payload_digest=_digest({"retry_of": key.id}),
                    created_at=now,
                    ttl_at=now + wait_s,
                    purge_at=now + wait_s + self._rules.retention_s,
                    metadata=row.metadata,
                    principal=principal,
                    request_id=request_id,
                    retry_of=key.id,
                )
            ),
            jobs_max,
        )

    def get(self, key: BatchKey) -> BatchRow:
        """The batch; raises `JobNotFoundError` alike for none and for another tenant's."""
        row = self._store.get(key)
        if row is None:
            raise JobNotFoundError(f"you have no batch {key.id!r}")
        return row

    def list(self, tenant: str, *, cursor: str | None, limit: int) -> BatchList:
        """Batches of a tenant, newest first."""
        return self._store.list(tenant, cursor=cursor, limit=limit)

    def cancel(self, key: BatchKey) -> BatchRow:
        """The batch as it then stands. One that runs is finalizing first: what is done is joined."""
        now = self._clock()
        self.get(key)
        if not self._store.end(key, status="canceled", now=now) and self._store.finalize(
            key, ending="canceled", now=now
        ):
            self._tell(self._finish, key)
        return self.get(key)

    def _accept(self, row: BatchRow, jobs_max: int | None) -> AcceptedBatch:
        kept = None
        if jobs_max is not None:
            kept = kept_when_full(
                self._counts, row.key.tenant, jobs_max, get=lambda: self._store.get(row.key)
            )
        kept = kept or self._store.create(row)
        if kept is None:
            if self._tell(self._split, row.key):
                self._store.postpone(row.key, due_at=row.created_at + SPLIT_DUE_S)
            return AcceptedBatch(row, created=True)
        if kept.payload_digest != row.payload_digest:
            raise ConflictError(
                f"batch {row.key.id!r} exists with another payload; use a new id or key"
            )
        return AcceptedBatch(kept, created=False)

    def _new_row(self, submission: BatchSubmission, key: BatchKey, now: float) -> BatchRow:
        match = _ENDPOINT.fullmatch(submission.endpoint)
        if match is None:
            raise InvalidRequestError("endpoint should be /v2/models/{m}/infer", field="endpoint")
        model, version = self._catalog.find(match["model"], match["version"])
        place = check_input_uri(submission.input, tenant=key.tenant, rules=self._rules)
        not_before = 0.0 if submission.not_before is None else submission.not_before.timestamp()
        window = submission.window or ""
        begins_at = opens_at(window, max(now, not_before))
        ttl_at = begins_at + (submission.ttl_s or self._rules.ttls_s[BATCH])
        return self._routed(
            BatchRow(
                key=key,
                status="validating",
                endpoint=submission.endpoint,
                model=model.name,
                version=version.version,
                pool=model.pool,
                input=place,
                payload_digest=_digest(submission.model_dump(mode="json")),
                created_at=now,
                ttl_at=ttl_at,
                purge_at=ttl_at + self._rules.retention_s,
                metadata=submission.metadata,
                not_before=not_before,
                window=window,
            )
        )

    def _routed(self, row: BatchRow) -> BatchRow:
        """The row, its pool as the catalog has it now; raises for a model that takes no batch."""
        model, _ = self._catalog.find(row.model, row.version)
        lane = choose_lane(model, BATCH)
        if lane.pool in self._pools:
            return replace(row, pool=lane.pool)
        if lane.name == GPU:
            raise UnsupportedClassError(
                f"model {model.name!r} runs on a gpu, and this stage has no gpu lane",
                field="endpoint",
            )
        raise UnavailableError(f"pool {lane.pool!r} has no queue of chunks in this stage")

    def _tell(self, queue: Queue, key: BatchKey) -> bool:
        """Whether the broker has the message. The batch is accepted either way."""
        try:
            queue.send(batch_message(key), tenant=key.tenant)
        except QueueUnavailableError:
            return False
        return True


def _derived(prefix: str, tenant: str, name: str) -> str:
    """The same id for the same name of the same tenant."""
    digest = hashlib.sha256(f"{tenant}\0{name}".encode()).hexdigest()
    return f"{prefix}-{digest[:_ID_LENGTH]}"


def _digest(said: Mapping[str, object]) -> str:
    return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()
