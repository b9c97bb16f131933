"""What a job's failure is: ours, or a defect that is reported and called ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from shared.errors import InternalError, LanewayError, without_memory
from shared.results.store import JobFailure

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.jobs.work import Work, Worker

T = TypeVar("T")


def failure_of(error: LanewayError) -> JobFailure:
    """A typed failure as the row keeps it."""
    return JobFailure(
        status_code=error.status, code=error.code, error=error.message, field=error.field
    )


def guarded(worker: Worker, work: Work, step: Callable[[], T]) -> T | LanewayError:
    """What `step` gives, or the typed failure that it ends with: one job's, not its neighbours'."""
    try:
        return step()
    except Exception as error:  # noqa: BLE001  one job's defect must not take the others with it
        return as_failure(worker, work, error)


def as_failure(worker: Worker, work: Work, error: Exception) -> LanewayError:
    """The error itself where it is one of ours; else a defect, which is reported.

    Where there was no memory, the model is dropped and nothing of the run is held.
    """
    if isinstance(error, MemoryError):
        worker.sessions.drop(work.row.model, work.row.version)
        return without_memory(error, work.row.model)
    if isinstance(error, LanewayError):
        return without_memory(error, work.row.model) if worker.sessions.spent else error
    worker.reporter.defect(error, work.row)
    return InternalError("an internal error; the service's log has it under the job's id")
