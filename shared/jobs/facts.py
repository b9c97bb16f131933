"""What is told of jobs while they are worked on: one `JobFacts` for each that ended or came twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from shared.errors import ModelRunError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.results.store import JobRow, RunFacts


class JobFacts(NamedTuple):
    """One job as its line in the log has it; `run` is None where it did not run."""

    row: JobRow
    outcome: str
    """`succeeded`, `failed`, `released`, `lost` (another owner has the job) or `duplicate`."""
    status: int
    """HTTP status of the result; 0 where this delivery gave none."""
    code: str = "ok"
    run: RunFacts | None = None
    detail: str | None = None
    """onnxruntime's own words about a run that failed: for the log, and for no caller."""


def detail_of(error: BaseException) -> str | None:
    """What the log has of an error besides its code."""
    return error.detail if isinstance(error, ModelRunError) else None


class Reporter(Protocol):
    """Where facts go."""

    def job(self, facts: JobFacts) -> None:
        """One job ended, was handed back or came twice."""

    def ended(self, facts: Sequence[JobFacts]) -> None:
        """As `job` for each, of jobs that ended together."""

    def defect(self, error: BaseException, row: JobRow | None) -> None:
        """An exception that nobody foresaw; `row` None: met before the job was known."""


@dataclass
class MemoryReporter:
    """Keeps what it is told, for tests and measurements."""

    jobs: list[JobFacts] = field(default_factory=list)
    defects: list[BaseException] = field(default_factory=list)

    def job(self, facts: JobFacts) -> None:
        """Keep the facts."""
        self.jobs.append(facts)

    def ended(self, facts: Sequence[JobFacts]) -> None:
        """Keep the facts of each."""
        self.jobs.extend(facts)

    def defect(self, error: BaseException, row: JobRow | None) -> None:  # noqa: ARG002  the error says enough here
        """Keep the error."""
        self.defects.append(error)
