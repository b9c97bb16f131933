"""What a worker says of its jobs: one JSON line each, with the metrics of the queue lane in it.

The line of a job that ran, or was refused before it did, is its audit record too. Nothing logged here
holds a tensor, a body or an exception's message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shared.audit import AUDIT, INFER
from shared.batch_telemetry import CHUNK, chunk_members
from shared.metric_lines import directive, write_line
from shared.telemetry import RequestFacts, Telemetry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.jobs.batches.facts import ChunkFacts
    from shared.jobs.facts import JobFacts
    from shared.results.batches import BatchRow
    from shared.results.store import JobRow

DIMENSIONS: Final = [["stage", "pool", "latency_class"]]
ENDED: Final = (("jobs", "Count"), ("job_failures", "Count"), ("attempts", "Count"))
RAN: Final = (("queue_ms", "Milliseconds"), ("run_ms", "Milliseconds"), ("rows_stacked", "Count"))
DUPLICATE: Final = (("duplicates", "Count"),)
UNKNOWN: Final = "unknown"
"""A model or version that nobody serves, in place of what a message says."""
INFERRED: Final = frozenset({"succeeded", "failed", "lost"})
"""Outcomes of which an inference is recorded; a job that another owner has by now did run here."""


class JobTelemetry(Telemetry):
    """Implements `shared.jobs.facts.Reporter`; `begin` says which invocation the lines are of."""

    def __init__(
        self,
        *,
        service: str,
        stage: str,
        pool: str,
        log_level: str = "INFO",
        digests: Mapping[tuple[str, str], str] | None = None,
    ) -> None:
        """`digests`: of the served versions, as `Catalog.digests` gives them."""
        super().__init__(service=service, stage=stage, pool=pool, log_level=log_level)
        self._digests = digests or {}
        self._context: Any = None
        self._common: dict[str, Any] = {}

    def begin(self, context: Any) -> None:
        """Lines from now on belong to this invocation."""
        self._context = context
        self._common = {
            "function_name": context.function_name,
            "function_request_id": context.aws_request_id,
            "stage": self._stage,
            "pool": self._pool,
        }

    def job(self, facts: JobFacts) -> None:
        """Write the job's line; at every log level, because the metrics are in it."""
        write_line(self._form, "job", self._told(facts), directive_of(facts))

    def ended(self, facts: Sequence[JobFacts]) -> None:
        """Write the line of each, by a call of its own: Lambda takes what one call writes for one line."""
        for one in facts:
            self.job(one)

    def _told(self, facts: JobFacts) -> dict[str, Any]:
        members = {**self._common, **_members(facts), **self._named(facts.row)}
        if facts.outcome in INFERRED:
            members |= self._audit(facts.row)
        return members

    def _named(self, row: JobRow) -> dict[str, str]:
        """Model and version as they may be told: a message that was refused may name anything."""
        is_refused = not row.input.sha256 and row.input.s3_key is None
        if not is_refused or (row.model, row.version) in self._digests:
            return {"model": row.model, "version": row.version}
        is_served = any(model == row.model for model, _ in self._digests)
        return {"model": row.model if is_served else UNKNOWN, "version": UNKNOWN}

    def chunk(self, facts: ChunkFacts) -> None:
        """Write the line of a run of a chunk."""
        members = {**self._common, **chunk_members(facts)}
        if facts.outcome != "released":
            members |= self._audit(facts.row)
        write_line(self._form, "chunk", members, CHUNK)

    def _audit(self, row: JobRow | BatchRow) -> dict[str, str]:
        """What makes the line a record; without a digest where the version is served no more."""
        members = {AUDIT: INFER, "principal": row.principal}
        if row.request_id:
            members["request_id"] = row.request_id
        digest = self._digests.get((row.model, row.version))
        return members if digest is None else {**members, "digest": digest}

    def defect(self, error: BaseException, row: JobRow | None) -> None:
        """Log an exception that nobody foresaw: its type and frames."""
        facts = RequestFacts("", 0)
        if row is not None:
            named = self._named(row)
            facts = RequestFacts(
                row.key.id,
                0,
                tenant=row.key.tenant,
                model=named["model"],
                version=named["version"],
            )
        self.failure(error, facts, self._context)


def _members(facts: JobFacts) -> dict[str, Any]:
    row, run = facts.row, facts.run
    members: dict[str, Any] = {
        "job_id": row.key.id,
        "tenant": row.key.tenant,
        "latency_class": row.latency_class,
        "outcome": facts.outcome,
        "status": facts.status,
        "code": facts.code,
        "attempts": row.attempt,
    }
    if facts.outcome in ("succeeded", "failed"):
        members["jobs"] = 1
        members["job_failures"] = int(facts.outcome == "failed")
    elif facts.outcome == "duplicate":
        members["duplicates"] = 1
    if facts.detail:
        members["detail"] = facts.detail
    if run is not None:
        members["queue_ms"] = run.queue_ms
        members["run_ms"] = run.run_ms
        members["rows_stacked"] = run.rows_stacked
    return members


def directive_of(facts: JobFacts) -> Any:
    """EMF for the metrics of a job's line; None for one that counts as nothing."""
    if facts.outcome == "duplicate":
        return _DUPLICATE
    if facts.outcome not in ("succeeded", "failed"):
        return None
    return _ENDED if facts.run is None else _ENDED_AFTER_A_RUN


_DUPLICATE: Final = directive(DIMENSIONS, DUPLICATE)
_ENDED: Final = directive(DIMENSIONS, ENDED)
_ENDED_AFTER_A_RUN: Final = directive(DIMENSIONS, (*ENDED, *RAN))
