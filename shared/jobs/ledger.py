"""The books of one delivery: which job ended, which is handed back, and what could not be decided yet.

A job that met trouble which a retry may help keeps its lease until everything was tried. Then it is
known whether the trouble was its own, and costs an attempt, or the infrastructure's, and stops the
worker.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from shared.errors import LanewayError
from shared.jobs.delivery import DONE, Retry, jitter_s
from shared.jobs.facts import JobFacts, detail_of
from shared.jobs.publishing import publish
from shared.jobs.work import Refused, Trouble

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.jobs.delivery import Outcome
    from shared.jobs.work import Ending, Work, Worker

BACKOFF_S: Final = 5.0
"""After the first failed attempt."""
BACKOFF_FACTOR: Final = 4.0


class Ledger:
    """Outcomes by position; `settle` decides what is left."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._outcomes: dict[int, Outcome] = {}
        self._troubles: list[Trouble] = []
        self._ended = 0

    def note(self, position: int, item: Outcome | Trouble) -> None:
        """How a delivery ended without a run."""
        if isinstance(item, Trouble):
            self._troubles.append(item)
        else:
            self._outcomes[position] = item

    def publish(self, ended: Sequence[tuple[Work, Ending]]) -> None:
        """End jobs."""
        for work, error in publish(self._worker, ended) if ended else ():
            if error is None:
                self._ended += 1
                self._outcomes[work.position] = DONE
            else:
                self._troubles.append(
                    Trouble(work.position, work, error, infrastructure=error.retryable)
                )

    def fail(self, failed: Sequence[tuple[Work, LanewayError]]) -> None:
        """End jobs with their failures; those that a retry may help wait for `settle`."""
        self._troubles += [
            Trouble(work.position, work, error) for work, error in failed if error.retryable
        ]
        self.publish([(work, Refused(error)) for work, error in failed if not error.retryable])

    def interrupted(self, works: Sequence[Work], error: LanewayError) -> None:
        """Jobs whose run the end of the invocation stopped: it cost them an attempt."""
        self._troubles += [
            Trouble(work.position, work, error, infrastructure=False) for work in works
        ]

    def hand_back(self, works: Sequence[Work]) -> None:
        """Give back what has not started; it costs no attempt."""
        self.release(works)
        for work in works:
            self._outcomes[work.position] = Retry(jitter_s())

    def release(self, works: Sequence[Work], *, charged: bool = False) -> None:
        """Give leases up; one that cannot be given up lapses."""
        worker = self._worker

        def release(work: Work) -> None:
            row = work.row
            with suppress(LanewayError):
                worker.store.release(row.key, fence=row.fence, now=worker.clock(), charged=charged)

        worker.parallel.map(release, works)

    def settle(self, count: int) -> list[Outcome]:
        """The outcomes of all `count` deliveries.

        Raises the first error when nothing ended and every trouble is the infrastructure's: no
        attempt is charged, and whoever delivers should slow down.
        """
        troubles, self._troubles = self._troubles, []
        if troubles and not self._ended and all(item.infrastructure for item in troubles):
            self._end_outage(troubles)
            raise troubles[0].error
        for trouble in troubles:
            self._outcomes[trouble.position] = Retry(_backoff_s(trouble.work))
        self._charge(troubles)
        return [self._outcomes[position] for position in range(count)]

    def _end_outage(self, troubles: Sequence[Trouble]) -> None:
        """Nobody pays for an outage, but a job that waits longer than its ttl must end some day."""
        now = self._worker.clock()
        overdue = [item for item in troubles if item.work and item.work.row.ttl_at <= now]
        self.release([item.work for item in troubles if item.work and item not in overdue])
        self._charge(overdue)

    def _charge(self, troubles: Sequence[Trouble]) -> None:
        """Hand back at the cost of an attempt; a job that has no other fails with its error."""
        spent: list[tuple[Work, Ending]] = []
        again: list[Work] = []
        for item in troubles:
            if item.work is None:
                continue
            if item.work.row.attempt >= item.work.row.max_attempts:
                spent.append((item.work, Refused(item.error)))
            else:
                again.append(item.work)
                self._worker.reporter.job(_released(item.work, item.error))
        self.release(again, charged=True)
        self.publish(spent)


def _released(work: Work, error: LanewayError) -> JobFacts:
    return JobFacts(
        row=work.row,
        outcome="released",
        status=error.status,
        code=error.code,
        run=work.run,
        detail=detail_of(error),
    )


def _backoff_s(work: Work | None) -> float:
    attempt = 1 if work is None else work.row.attempt
    return BACKOFF_S * BACKOFF_FACTOR ** (attempt - 1) + jitter_s()
