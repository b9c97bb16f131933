"""Ends jobs: writes a large result to S3, then publishes by one conditional write.

Nothing here decides what a job's end is. A job whose lease is lost is not ours to end: what was
made of it is dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shared.errors import InternalError, LanewayError, UnavailableError, UriNotAllowedError
from shared.jobs.facts import JobFacts, detail_of
from shared.jobs.failures import as_failure, failure_of
from shared.jobs.messages import event
from shared.jobs.work import Answered, Refused
from shared.results.payloads import claim_check
from shared.results.store import JobResult
from shared.schema.wire import HEADER_LENGTH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.jobs.work import Ending, Work, Worker
    from shared.results.store import JobRow

OK: Final = 200


def publish(
    worker: Worker, ended: Sequence[tuple[Work, Ending]]
) -> list[tuple[Work, LanewayError | None]]:
    """End the jobs at the same time; with each comes why it could not be, None where it was."""
    done = worker.parallel.map(lambda pair: _end(worker, *pair), ended)
    worker.reporter.ended([end for end in done if isinstance(end, JobFacts)])
    return [
        (work, None if isinstance(end, JobFacts) else end)
        for (work, _), end in zip(ended, done, strict=True)
    ]


def result_key(row: JobRow) -> str:
    """Where a large result is, in the stage's bucket: a place that no other attempt writes to."""
    return f"results/{row.key.tenant}/{row.key.id}/{row.fence}"


def _end(worker: Worker, work: Work, ending: Ending) -> JobFacts | LanewayError:
    """How the job ended, or why that could not be written."""
    try:
        kept = _write(worker, work, ending)
    except UnavailableError as error:
        return error
    except Exception as error:  # noqa: BLE001  what cannot be published must not take the others with it
        failure = as_failure(worker, work, error)
        return failure if isinstance(ending, Refused) else _end(worker, work, Refused(failure))
    if kept and work.row.webhook is not None and worker.events is not None:
        _tell(worker, work.row)
    return _facts(work, ending, kept=kept)


def _write(worker: Worker, work: Work, ending: Ending) -> bool:
    row = work.row
    if not isinstance(ending, Answered):
        failure = failure_of(ending.error)
        return worker.store.fail(
            row.key, fence=row.fence, failure=failure, facts=work.run, now=worker.clock()
        )
    length = ending.headers.get(HEADER_LENGTH)
    payload = claim_check(
        worker.payloads,
        ending.body,
        key=result_key(row),
        content_type=ending.headers["content-type"],
        header_length=None if length is None else int(length),
    )
    if row.result_alias is not None:
        _copy(worker, row, ending)
    result = JobResult(status_code=OK, headers=ending.headers, payload=payload)
    if work.run is None:
        raise InternalError("a job that was answered has run")
    return worker.store.succeed(
        row.key, fence=row.fence, result=result, facts=work.run, now=worker.clock()
    )


def _copy(worker: Worker, row: JobRow, answered: Answered) -> None:
    """Write the copy that the submission asked for; before the result, so that it is never missed.

    A worker that lost the job meanwhile may write it too: the same answer, within the tolerance.
    """
    place = worker.rules.result_aliases.get(row.result_alias or "")
    if place is None:
        raise UriNotAllowedError(f"result_alias {row.result_alias!r} is not listed by this stage")
    uri = f"{place.rstrip('/')}/{row.key.tenant}/{row.key.id}"
    worker.payloads.put(uri, answered.body, content_type=answered.headers["content-type"])


def _tell(worker: Worker, row: JobRow) -> None:
    """Put the job's event on the webhooks' queue; what fails here the sweeper does again."""
    try:
        if worker.events is not None:
            worker.events.send(event(row.key), tenant=row.key.tenant)
            worker.store.webhook_sent(row.key)
    except UnavailableError:
        return


def _facts(work: Work, ending: Ending, *, kept: bool) -> JobFacts:
    detail = None
    if isinstance(ending, Answered):
        outcome, status, code = "succeeded", OK, "ok"
    else:
        outcome, status, code = "failed", ending.error.status, ending.error.code
        detail = detail_of(ending.error)
    return JobFacts(
        row=work.row,
        outcome=outcome if kept else "lost",
        status=status,
        code=code,
        run=work.run,
        detail=detail,
    )
