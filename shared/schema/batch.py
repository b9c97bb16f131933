"""Batches as callers write and read them: the HTTP body and the batch's page.

The lines of the input are read by `shared.jobs.batches.lines`: a million of them is no place for
Pydantic. `BatchLine` and `AnswerLine` are their forms, for the documentation.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003  Pydantic reads it at run time
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from shared.limits import JOB_TTL_S_MAX, JOB_TTL_S_MIN
from shared.schema.batch_status import BatchStatus  # noqa: TC001  Pydantic reads it at run time
from shared.schema.job import (
    InputUri,
    JobError,
    JobId,
    JobModel,
    Metadata,
)

CUSTOM_ID_LENGTH_MAX = 256
Endpoint = Annotated[
    str,
    StringConstraints(
        pattern=r"^/v2/models/[a-z0-9][a-z0-9-]*(/versions/[A-Za-z0-9._-]+)?/infer$", max_length=300
    ),
]
Window = Annotated[
    str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$")
]


class BatchSubmission(JobModel):
    """Body of `POST /v2/batches`."""

    endpoint: Endpoint
    """The call that every line makes: `/v2/models/{m}/infer` or `.../versions/{v}/infer`."""
    input: InputUri
    """JSON lines on S3, in a place that the tenant may read."""
    metadata: Metadata = Field(default_factory=dict)
    ttl_s: int | None = Field(default=None, ge=JOB_TTL_S_MIN, le=JOB_TTL_S_MAX)
    """How long the batch may take from the time it may begin; then it expires with what is done."""
    not_before: datetime | None = None
    """When it may begin to run."""
    window: Window | None = None
    """Hours of the day in UTC, `22:00-06:00`, in which chunks of it may begin."""

    @property
    def model(self) -> str:
        """Whom every line asks."""
        return self.endpoint.split("/")[3]

    @model_validator(mode="after")
    def _has_a_zone_and_a_window(self) -> Self:
        if self.not_before is not None and self.not_before.tzinfo is None:
            raise ValueError("not_before needs an offset from UTC, such as a Z at its end")
        if self.window is not None and self.window[:5] == self.window[6:]:
            raise ValueError("window begins and ends at the same minute; leave it out for all day")
        return self


class BatchCounts(JobModel):
    """Lines of the batch; while it runs, those not counted yet are still to come."""

    total: int
    succeeded: int
    failed: int


class BatchFile(JobModel):
    """A file that the batch wrote."""

    uri: str
    size_bytes: int
    url: str | None = None
    """Where it can be read for some minutes, without credentials."""


class BatchFiles(JobModel):
    """What there is of a batch that has ended; a file without a line is left out."""

    output: BatchFile | None = None
    errors: BatchFile | None = None
    refused: BatchFile | None = None
    """The lines that failed, as they came: the input of a retry."""
    manifest: BatchFile | None = None


class Batch(JobModel):
    """A batch's page: `GET /v2/batches/{id}`. Times are ISO 8601 in UTC."""

    id: JobId
    status: BatchStatus
    endpoint: str
    model: str
    version: str
    input: str
    counts: BatchCounts
    created_at: str
    started_at: str | None = None
    finished_at: str | None = None
    expires_at: str
    not_before: str | None = None
    window: str | None = None
    error: JobError | None = None
    """Why the batch failed; a line that fails is in the file of errors."""
    metadata: dict[str, str] = Field(default_factory=dict)
    retry_of: str | None = None
    files: BatchFiles = BatchFiles()


class BatchPage(JobModel):
    """`GET /v2/batches`: newest first."""

    batches: tuple[Batch, ...]
    cursor: str | None = None


class BatchLine(JobModel):
    """One line of the input, as OpenAI's batches have it; other members are ignored."""

    custom_id: Annotated[str, StringConstraints(min_length=1, max_length=CUSTOM_ID_LENGTH_MAX)]
    method: Literal["POST"]
    url: Endpoint
    """The batch's endpoint."""
    body: dict[str, Any]
    """The request in the protocol's JSON."""


class LineResponse(JobModel):
    """What the realtime call would have answered."""

    status_code: int
    request_id: str
    body: dict[str, Any]


class AnswerLine(JobModel):
    """One line of the output (`error` null) or of the file of errors."""

    id: str
    custom_id: str | None
    """None where the line could not be read so far."""
    response: LineResponse
    error: dict[str, str] | None
    """`code` and `message`."""
    line: int | None = None
    """Of the file of errors: the number of the line in the input, from 1."""
