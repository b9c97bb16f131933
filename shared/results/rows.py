"""What is kept of one job: the row and its parts, as frozen values without behaviour.

Times are epoch seconds, sizes are bytes. How a row may change is in `shared.results.transitions`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.routing.lane import queue_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.schema.job import Priority
    from shared.schema.status import JobStatus


class JobKey(NamedTuple):
    """Names a job; `str()` is the table's partition key."""

    tenant: str
    id: str

    def __str__(self) -> str:
        return f"{self.tenant}/{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """Bytes of an input or a result: in the row (`inline`) or on S3 (`s3_key`), never both."""

    size_bytes: int
    sha256: str
    """Hex; empty for an object that a caller named and nobody has read yet."""
    inline: bytes | None = None
    s3_key: str | None = None
    """Within the stage's bucket; for an `input_uri` elsewhere, the whole URI."""
    header_length: int | None = None
    """Inference-Header-Content-Length, where the bytes are a framed body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What the realtime call would have answered; its body is the payload."""

    status_code: int
    headers: Mapping[str, str]
    payload: Payload


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFailure:
    """A typed failure: the status, code and message of an error of `shared.errors`."""

    status_code: int
    code: str
    error: str
    field: str | None = None
    """The member of the request that is at fault."""


class RunFacts(NamedTuple):
    """What is known of the run that ended a job."""

    queue_ms: float
    run_ms: float
    rows_stacked: int


@dataclass(frozen=True, kw_only=True)
class JobRow:
    """One job as it is stored. Without slots: `changed` copies all its members at once."""

    key: JobKey
    status: JobStatus
    model: str
    version: str
    pool: str
    lane: str
    latency_class: str
    input: Payload
    payload_digest: str
    """SHA-256 over everything that makes two submissions the same."""
    created_at: float
    ttl_at: float
    """When a job that never ran expires."""
    timeout_s: float
    max_attempts: int
    purge_at: float
    """From then on an ended job is absent; a job that has not ended is never removed."""
    attempt: int = 0
    fence: int = 0
    lease_owner: str | None = None
    lease_until: float = 0.0
    started_at: float | None = None
    """When the last claim was made."""
    finished_at: float | None = None
    result: JobResult | None = None
    failure: JobFailure | None = None
    facts: RunFacts | None = None
    webhook: str | None = None
    webhook_unsent: bool = False
    """The job ended and its event is not on the webhooks' queue yet."""
    result_alias: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    retry_of: str | None = None
    priority: Priority = "normal"
    principal: str = "queue"
    """Who asked for it, as `shared.principal` names callers; those of a queue are not told apart."""
    request_id: str = ""
    """Of the call that submitted it; empty for a message on a queue."""
    unsent_at: float | None = None
    """Set while a message of this row, or its webhook's event, is not confirmed by the broker."""
    due_at: float | None = None
    """When somebody must look: ttl, lapsed lease, lost message; None for an ended job."""
    counted: bool = False
    """Whether it takes one of the jobs that its tenant may have unfinished; an ended job takes none."""

    @property
    def queue(self) -> str:
        """Which of its pool's queues carries it."""
        return queue_name(self.latency_class, self.priority)


def changed(row: JobRow, **members: Any) -> JobRow:
    """The row with other `members`: `dataclasses.replace` in a fraction of its time.

    `replace` calls the constructor by keywords, and a frozen one sets each attribute through a
    wrapper; a job's row is changed twice for each job (benchmarks, bars Q2 and Q3).
    """
    made = object.__new__(JobRow)
    known = vars(row)
    object.__setattr__(made, "__dict__", known | members)
    if len(vars(made)) != len(known):
        raise KeyError(f"a job's row has no {', '.join(members.keys() - known.keys())}")
    return made
