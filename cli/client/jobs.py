"""Jobs as the client speaks of them: what is asked, what comes back, how long to wait. It sends nothing.

A job's input is the body of the same infer call; what answers it later is read as that call's answer.
"""

from __future__ import annotations

import base64
import gzip
import json
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict
from urllib.parse import quote, urlencode
from uuid import uuid4

from cli.client.errors import InputError, ProtocolError, WaitTimeoutError
from cli.client.failures import retry_after_s
from cli.client.metadata import parse_json
from cli.client.protocol import HEADER_LENGTH, Call
from shared.limits import BODY_BYTES_MAX
from shared.schema.status import TERMINAL

if TYPE_CHECKING:
    from collections.abc import Mapping

JobClass = Literal["async", "batch"]
Priority = Literal["normal", "high"]
JOBS_PATH: Final = "/v2/jobs"
OPTIONS_BYTES: Final = 64 * 1024
"""Room left in a submission for what is said beside its input."""
POLL_FIRST_S: Final = 0.1
POLL_FACTOR: Final = 1.5
POLL_MAX_S: Final = 5.0


class JobOptions(TypedDict, total=False):
    """What may be said of a job beside its model and inputs. What is left out is the stage's default."""

    version: str | None
    latency_class: JobClass
    """Default: `async`."""
    priority: Priority | None
    """Default: `normal`; `high` goes first, for models on a gpu alone."""
    id: str | None
    """Your own id: submitting it again with the same payload gives the same job."""
    idempotency_key: str | None
    """The same, where the id is the service's to choose. Without both, each call is a new job."""
    ttl_s: int | None
    """How long the job may wait for its first run; then it expires."""
    timeout_s: int | None
    """How long one run may take."""
    webhook: str | None
    """An https URL that is told when the job has ended."""
    metadata: Mapping[str, str] | None
    result_alias: str | None
    """Where a copy of the result goes: a name from the stage's list."""


_NOT_IN_BODY: Final = frozenset({"id", "idempotency_key"})


@dataclass(frozen=True, slots=True)
class JobInput:
    """The body of an infer call; `header_length`: of its JSON part, where binary tensors follow."""

    body: bytes = field(repr=False)
    header_length: int | None = None

    @classmethod
    def of(cls, call: Call) -> JobInput:
        """The input that an uncompressed infer call carries."""
        header = call.headers.get(HEADER_LENGTH)
        return cls(call.content, None if header is None else int(header))

    def members(self) -> dict[str, Any]:
        """As members of a submission: readable where it is JSON alone."""
        if self.header_length is None:
            return {"input": parse_json(self.body)}
        text = base64.b64encode(self.body).decode("ascii")
        return {"input_base64": text, "header_length": self.header_length}


@dataclass(frozen=True, slots=True)
class StoredInput:
    """An input on S3: what `upload` gave, or an object in a place that the stage lists for you."""

    uri: str
    header_length: int | None = None

    def members(self) -> dict[str, Any]:
        """As members of a submission."""
        named = {} if self.header_length is None else {"header_length": self.header_length}
        return {"input_uri": self.uri, **named}


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed: the code and words that the infer call would have answered with."""

    code: str
    error: str
    field: str | None = None
    """The member of the request that is at fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it stood when it was asked for. Times are ISO 8601 in UTC."""

    id: str
    status: str
    """queued, running, succeeded, failed, canceled or expired."""
    model: str
    version: str
    latency_class: str
    attempt: int
    max_attempts: int
    created_at: str
    started_at: str | None = None
    finished_at: str | None = None
    expires_at: str = ""
    error: JobError | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    queue_ms: float | None = None
    """From acceptance to the start of the last run."""
    run_ms: float | None = None
    rows_stacked: int | None = None
    """How many jobs ran together; 1: alone."""
    retry_of: str | None = None
    priority: str = "normal"

    @property
    def finished(self) -> bool:
        """Whether the job has ended, one way or another."""
        return self.status in TERMINAL


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some jobs, newest first, and where to go on; `cursor` None: this is the last page."""

    jobs: tuple[Job, ...]
    cursor: str | None


def submission(model: str, source: JobInput | StoredInput, options: JobOptions) -> dict[str, Any]:
    """The members of a submission; an option that is None is left to the stage."""
    said = {
        name: value
        for name, value in options.items()
        if value is not None and name not in _NOT_IN_BODY
    }
    return {"model": model, **said, **source.members()}


def submit_call(members: Mapping[str, Any], options: JobOptions, *, compress: bool) -> Call:
    """The call that submits; it may be sent twice and makes one job.

    Raises `InputError` for an id and a key together, or for values that JSON does not have.
    """
    job_id, key = options.get("id"), options.get("idempotency_key")
    if job_id is not None and key is not None:
        raise InputError("id and idempotency_key both name the job: choose one")
    headers = {"Content-Type": "application/json"}
    if job_id is None:
        headers["Idempotency-Key"] = key or uuid4().hex
    body = json.dumps(members).encode()
    if compress:
        body = gzip.compress(body, compresslevel=1)
        headers |= {"Content-Encoding": "gzip", "Content-Type": "application/octet-stream"}
    if job_id is None:
        return Call("POST", JOBS_PATH, headers, body)
    return Call("PUT", job_path(job_id), headers, body)


def needs_upload(source: JobInput) -> bool:
    """Whether an input is too large to travel in a submission's body."""
    size_bytes = len(source.body)
    if source.header_length is not None:
        size_bytes = size_bytes * 4 // 3
    return size_bytes > BODY_BYTES_MAX - OPTIONS_BYTES


def job_path(job: str | Job) -> str:
    """`/v2/jobs/{id}`, quoted."""
    return f"{JOBS_PATH}/{quote(id_of(job), safe='')}"


def result_call(job: str | Job) -> Call:
    """The call for a job's result, which may be answered with an address elsewhere."""
    return Call("GET", f"{job_path(job)}/result", may_redirect=True)


def cancel_call(job: str | Job) -> Call:
    """The call that cancels a job; one that has ended stays as it ended."""
    return Call("POST", f"{job_path(job)}/cancel")


def list_call(*, status: str | None, model: str | None, cursor: str | None) -> Call:
    """The call for one page of jobs."""
    asked = {"status": status, "model": model, "cursor": cursor}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    return Call("GET", f"{JOBS_PATH}?{query}" if query else JOBS_PATH)


def id_of(job: str | Job) -> str:
    """The id of a job, or the id itself."""
    return job.id if isinstance(job, Job) else job


def parse_job(body: bytes) -> Job:
    """A job's page."""
    return _job(parse_json(body))


def parse_page(body: bytes) -> JobPage:
    """One page of a list."""
    value = parse_json(body)
    return JobPage(tuple(_job(item) for item in value.get("jobs") or ()), value.get("cursor"))


def parse_error(value: Mapping[str, Any]) -> JobError:
    """The failure on a job's or a batch's page."""
    return JobError(str(value["code"]), str(value["error"]), value.get("field"))


def poll_pause_s(polls_done: int, headers: Mapping[str, str] | None = None) -> float:
    """Seconds until the next look: growing to 5 s with jitter, never before `Retry-After`."""
    bound_s = min(POLL_MAX_S, POLL_FIRST_S * POLL_FACTOR ** min(polls_done, 64))
    pause_s = bound_s * random.uniform(0.75, 1.0)  # noqa: S311  spreads load, guards nothing
    return max(pause_s, retry_after_s((headers or {}).get("retry-after")) or 0.0)


def still_running(job: Job, timeout_s: float) -> WaitTimeoutError:
    """The error for a job that had not ended when the wait for it did."""
    return WaitTimeoutError(
        f"job {job.id} is {job.status} after {timeout_s:g} s; it goes on: wait again, or cancel it"
    )


def _job(value: Mapping[str, Any]) -> Job:
    try:
        metrics, error = value.get("metrics") or {}, value.get("error")
        return Job(
            id=str(value["id"]),
            status=str(value["status"]),
            model=str(value["model"]),
            version=str(value["version"]),
            latency_class=str(value["latency_class"]),
            attempt=int(value["attempt"]),
            max_attempts=int(value["max_attempts"]),
            created_at=str(value["created_at"]),
            started_at=value.get("started_at"),
            finished_at=value.get("finished_at"),
            expires_at=str(value.get("expires_at", "")),
            error=None if error is None else parse_error(error),
            metadata=value.get("metadata") or {},
            queue_ms=metrics.get("queue_ms"),
            run_ms=metrics.get("run_ms"),
            rows_stacked=metrics.get("rows_stacked"),
            retry_of=value.get("retry_of"),
            priority=str(value.get("priority", "normal")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as failure:
        raise ProtocolError(f"not a job: {value!r:.200}") from failure
