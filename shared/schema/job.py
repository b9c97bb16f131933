"""Jobs as callers write and read them: the HTTP body, the message on a queue, and the job's page.

A message may be dropped on a queue by anyone who may send to it, so its form is public and carries
a version. It never names a tenant, a latency class or a priority: those follow from the queue.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from shared.limits import (
    JOB_METADATA_MEMBERS_MAX,
    JOB_METADATA_VALUE_LENGTH_MAX,
    JOB_TIMEOUT_S_MAX,
    JOB_TTL_S_MAX,
    JOB_TTL_S_MIN,
    URI_LENGTH_MAX,
)
from shared.schema.spec import ModelName, VersionName  # noqa: TC001  Pydantic reads them at run time
from shared.schema.status import TERMINAL as TERMINAL  # noqa: PLC0414  a job's words are found here too
from shared.schema.status import JobStatus  # noqa: TC001  Pydantic reads it at run time

SCHEMA_VERSION: Literal[1] = 1

JobId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Tenant = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:@=+-]{1,128}$")]
Alias = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$")]
JobClass = Literal["async", "batch"]
Priority = Literal["normal", "high"]

MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=JOB_METADATA_VALUE_LENGTH_MAX)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=JOB_METADATA_MEMBERS_MAX)]
WebhookUrl = Annotated[
    str, StringConstraints(pattern=r"^https://[^\s]+$", max_length=URI_LENGTH_MAX)
]
InputUri = Annotated[str, StringConstraints(pattern=r"^s3://[^\s]+$", max_length=URI_LENGTH_MAX)]


class JobModel(BaseModel):
    """Frozen; an unknown member is refused, because a misspelt option would pass for its default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class JobOptions(JobModel):
    """What may be said of a job, however it is submitted."""

    model: ModelName
    version: VersionName | None = None
    input: dict[str, Any] | None = None
    """The request in the protocol's JSON."""
    input_base64: str | None = None
    """The body of a realtime call, base64: JSON, or JSON and binary tensors."""
    header_length: int | None = Field(default=None, ge=0)
    """Inference-Header-Content-Length of `input_base64` or of the object at `input_uri`."""
    input_uri: InputUri | None = None
    """The body of a realtime call on S3, in a place that the tenant may read."""
    ttl_s: int | None = Field(default=None, ge=JOB_TTL_S_MIN, le=JOB_TTL_S_MAX)
    """How long the job may wait for its first run; then it expires."""
    timeout_s: int | None = Field(default=None, ge=1, le=JOB_TIMEOUT_S_MAX)
    """How long one run may take."""
    webhook: WebhookUrl | None = None
    metadata: Metadata = Field(default_factory=dict)
    result_alias: Alias | None = None
    """Where a copy of the result goes: a name from the stage's list of destinations."""

    @model_validator(mode="after")
    def _has_one_input(self) -> Self:
        given = [
            name
            for name in ("input", "input_base64", "input_uri")
            if getattr(self, name) is not None
        ]
        if len(given) != 1:
            came = " and ".join(given) or "none of them"
            raise ValueError(f"send exactly one of input, input_base64, input_uri; got {came}")
        if self.header_length is not None and self.input is not None:
            raise ValueError("header_length belongs to input_base64 or input_uri, not to input")
        return self


class JobSubmission(JobOptions):
    """Body of `POST /v2/jobs` and `PUT /v2/jobs/{id}`."""

    latency_class: JobClass = "async"
    priority: Priority = "normal"


class SubmissionMessage(JobOptions):
    """A job dropped on a queue; its class, priority and tenant are the queue's."""

    schema_version: Literal[1]
    id: JobId | None = None


class JobReference(JobModel):
    """Names a committed row."""

    tenant: Tenant
    id: JobId


class ReferenceMessage(JobModel):
    """What Laneway itself sends: the row holds everything else."""

    schema_version: Literal[1]
    job: JobReference


class JobError(JobModel):
    """Why a job failed, in the words of the realtime call's error."""

    error: str
    code: str
    field: str | None = None
    """The member of the request that is at fault."""


class JobUrls(JobModel):
    """Where to go from here."""

    self: str
    result: str
    cancel: str


class JobMetrics(JobModel):
    """What is known of a job's run."""

    queue_ms: float | None = None
    """From acceptance to the start of the last run."""
    run_ms: float | None = None
    """In the model, for the rows that ran together."""
    rows_stacked: int | None = None
    """How many jobs ran together; 1: alone."""


class Job(JobModel):
    """A job's page: `GET /v2/jobs/{id}`. Times are ISO 8601 in UTC."""

    id: JobId
    status: JobStatus
    model: str
    version: str
    latency_class: JobClass
    priority: Priority = "normal"
    attempt: int
    max_attempts: int
    created_at: str
    started_at: str | None = None
    finished_at: str | None = None
    expires_at: str
    error: JobError | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    metrics: JobMetrics = JobMetrics()
    retry_of: str | None = None
    urls: JobUrls


class JobPage(JobModel):
    """`GET /v2/jobs`: newest first."""

    jobs: tuple[Job, ...]
    cursor: str | None = None
    """Send it back as `?cursor=` for the next page; None: this is the last."""
