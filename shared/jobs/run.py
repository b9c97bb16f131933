"""Runs a delivery: jobs are taken, run and published; says how each delivery ended.

Independent of Lambda and of the broker. The order keeps a crash to its own job: first attempts run
stacked and are published; later attempts come last, each claimed only when its turn comes, so that
one that kills the process takes no attempt of another with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.jobs.columns import KnownWays
from shared.jobs.delivery import Retry, jitter_s
from shared.jobs.ledger import Ledger
from shared.jobs.sharing import shared_out
from shared.jobs.stacking import Paces, Stacking
from shared.jobs.taking import Taking
from shared.jobs.work import Work, waves
from shared.limits import DECODED_BODY_BYTES_MAX, WORKER_INPUTS_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.jobs.delivery import Outcome
    from shared.jobs.work import Lease, Worker
    from shared.queues.protocol import Delivery


class JobRunner:
    """Runs the deliveries of one worker, one after the other."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._paces = Paces()
        self._ways = KnownWays()

    def run_delivery(
        self, deliveries: Sequence[Delivery], *, queue: str, lease: Lease, until_s: float
    ) -> list[Outcome]:
        """How each delivery ended, in order.

        `until_s`: on the monotonic clock, when the last run must have ended.
        Raises `UnavailableError` when no job ended and the infrastructure is the reason for each;
        no attempt was charged then.
        """
        ledger = Ledger(self._worker)
        with shared_out(self._worker, deliveries, queue=queue, lease=lease) as turned:
            for position, outcome in turned.items():
                ledger.note(position, outcome)
            ours = [place for place in range(len(deliveries)) if place not in turned]
            self._run(deliveries, ours, ledger, queue=queue, lease=lease, until_s=until_s)
            return ledger.settle(len(deliveries))

    def _run(
        self,
        deliveries: Sequence[Delivery],
        ours: Sequence[int],
        ledger: Ledger,
        *,
        queue: str,
        lease: Lease,
        until_s: float,
    ) -> None:
        """Run what is at the positions `ours`."""
        taking = Taking(self._worker, queue=queue, lease=lease)
        stacking = Stacking(self._worker, ledger, self._paces, self._ways, until_s=until_s)
        first, later = self._take(deliveries, ours, taking, ledger)
        held = later[:1] if not first else []
        ledger.release(later[len(held) :])
        for wave in waves(
            first, budget_bytes=WORKER_INPUTS_BYTES_MAX, unknown_bytes=DECODED_BODY_BYTES_MAX
        ):
            stacking.run(wave)
        if held:
            stacking.run(held)
        for work in later[len(held) :]:
            _run_again(work, deliveries[work.position], taking, stacking, ledger)

    def _take(
        self,
        deliveries: Sequence[Delivery],
        ours: Sequence[int],
        taking: Taking,
        ledger: Ledger,
    ) -> tuple[list[Work], list[Work]]:
        """The jobs that are ours now: those that run for the first time, and those tried before."""
        taken = self._worker.parallel.map(
            lambda position: taking.take(position, deliveries[position]), ours
        )
        works = [item for item in taken if isinstance(item, Work)]
        for position, item in zip(ours, taken, strict=True):
            if not isinstance(item, Work):
                ledger.note(position, item)
        return (
            [work for work in works if work.row.attempt == 1],
            [work for work in works if work.row.attempt > 1],
        )


def _run_again(
    work: Work, delivery: Delivery, taking: Taking, stacking: Stacking, ledger: Ledger
) -> None:
    """Run a job that was tried before and handed back meanwhile, alone."""
    if not stacking.has_time(work.model):
        ledger.note(work.position, Retry(jitter_s()))
        return
    taken = taking.again(work, delivery)
    if isinstance(taken, Work):
        stacking.run([taken])
    else:
        ledger.note(work.position, taken)
