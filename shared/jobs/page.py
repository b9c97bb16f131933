"""A job as its caller sees it: the row turned into the public page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from shared.schema.job import Job, JobError, JobMetrics, JobPage, JobUrls

if TYPE_CHECKING:
    from shared.results.rows import JobFailure, JobRow
    from shared.results.store import Page
    from shared.schema.job import JobClass


def job_url(job_id: str, *, base_url: str) -> str:
    """The address of a job; `base_url` empty: relative to whatever the caller used."""
    return f"{base_url.rstrip('/')}/v2/jobs/{job_id}"


def job_page(row: JobRow, *, base_url: str) -> Job:
    """`GET /v2/jobs/{id}`."""
    url = job_url(row.key.id, base_url=base_url)
    failure = row.failure
    return Job(
        id=row.key.id,
        status=row.status,
        model=row.model,
        version=row.version,
        latency_class=cast("JobClass", row.latency_class),
        priority=row.priority,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        created_at=iso_time(row.created_at),
        started_at=None if row.started_at is None else iso_time(row.started_at),
        finished_at=None if row.finished_at is None else iso_time(row.finished_at),
        expires_at=iso_time(row.ttl_at),
        error=None if failure is None else job_error(failure),
        metadata=dict(row.metadata),
        metrics=_metrics(row),
        retry_of=row.retry_of,
        urls=JobUrls(self=url, result=f"{url}/result", cancel=f"{url}/cancel"),
    )


def job_list(page: Page, *, base_url: str) -> JobPage:
    """`GET /v2/jobs`."""
    jobs = tuple(job_page(row, base_url=base_url) for row in page.rows)
    return JobPage(jobs=jobs, cursor=page.cursor)


def iso_time(epoch_s: float) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds")


def job_error(failure: JobFailure) -> JobError:
    """Why a job or a batch failed."""
    return JobError(error=failure.error, code=failure.code, field=failure.field)


def _metrics(row: JobRow) -> JobMetrics:
    facts = row.facts
    if facts is None:
        return JobMetrics()
    return JobMetrics(queue_ms=facts.queue_ms, run_ms=facts.run_ms, rows_stacked=facts.rows_stacked)
