"""The event that tells a caller's URL that a job has ended: what it is called and what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from shared.jobs.delivery import PoisonError
from shared.jobs.messages import SCHEMA_VERSION
from shared.jobs.page import iso_time, job_page
from shared.results.store import JobKey
from shared.schema.job import JobReference  # noqa: TC001  Pydantic reads it at run time

if TYPE_CHECKING:
    from shared.results.rows import JobRow

EVENT_BYTES_MAX: Final = 20_000
"""Standard Webhooks asks for less than 20 kB."""
ERROR_LENGTH_MAX: Final = 1024
"""Characters of a failure's message that an event repeats; the job's page has all of it."""


class EventMessage(BaseModel):
    """What is on the webhooks' queue: it names a job that has ended, and holds nothing else."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int
    event: JobReference


def read_event(body: str) -> JobKey:
    """The job that a message names; raises `PoisonError` where it cannot be read."""
    try:
        message = EventMessage.model_validate_json(body)
    except ValidationError as error:
        raise PoisonError("the message is no event of this service") from error
    if message.schema_version != SCHEMA_VERSION:
        raise PoisonError(f"schema_version is not {SCHEMA_VERSION}")
    return JobKey(message.event.tenant, message.event.id)


def event_id(row: JobRow) -> str:
    """The same in every attempt and every duplicate; a receiver that knows it has seen the event."""
    return f"evt_{row.key.id}_{row.status}"


def event_body(row: JobRow, *, base_url: str) -> bytes:
    """The body of the event of an ended job: the same bytes in every attempt, without tensors.

    Where a job has more metadata than fits, the event leaves them out and says so in `left_out`.
    """
    job = job_page(row, base_url=base_url).model_dump(mode="json")
    if job["error"] is not None:
        job["error"]["error"] = _shortened(job["error"]["error"])
    ended_at = iso_time(row.created_at if row.finished_at is None else row.finished_at)
    event: dict[str, Any] = {"type": f"job.{row.status}", "timestamp": ended_at, "data": job}
    body = orjson.dumps(event)
    if len(body) > EVENT_BYTES_MAX:
        job["metadata"] = {}
        body = orjson.dumps({**event, "left_out": ["data.metadata"]})
    return body


def _shortened(text: str) -> str:
    return text if len(text) <= ERROR_LENGTH_MAX else text[: ERROR_LENGTH_MAX - 1] + "…"
