"""Ends what is in hand: jobs are published or handed back, and their messages told so.

The books of each call are a `Ledger`, as those of a delivery in Lambda, so that trouble costs an
attempt, or does not, by the same rules. Safe to use from several threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shared.errors import LanewayError, StoreUnavailableError, UnavailableError
from shared.jobs.concluding import conclude
from shared.jobs.delivery import Retry, jitter_s
from shared.jobs.facts import JobFacts
from shared.jobs.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpu_workers.hand import Hand, Held
    from gpu_workers.outage import Outage
    from shared.jobs.delivery import Outcome
    from shared.jobs.work import Ending, Work, Worker
    from shared.queues.protocol import Delivery, Queue

AT_ONCE: Final = Retry(0.0)


class Settling:
    """Of one worker. `queues`: those that it consumes, by name."""

    def __init__(
        self, worker: Worker, *, queues: Mapping[str, Queue], hand: Hand, outage: Outage
    ) -> None:
        self._worker = worker
        self._queues = queues
        self._hand = hand
        self._outage = outage

    def publish(self, ended: Sequence[tuple[Held, Ending]]) -> None:
        """End jobs that ran."""
        self._settle(ended=[(held, ending) for held, ending in ended if self._is_ours(held)])

    def fail(self, failed: Sequence[tuple[Held, LanewayError]]) -> None:
        """End jobs that could not run, or try them again where that may help."""
        self._settle(failed=[(held, error) for held, error in failed if self._is_ours(held)])

    def hand_back(self, held: Sequence[Held], *, after: Retry = AT_ONCE) -> None:
        """Give back what has not started or was aborted; it costs no attempt."""
        ours = [item for item in held if self._is_ours(item)]
        works = _works(ours)
        if works:
            Ledger(self._worker).release(works)
        self.conclude([(item, after) for item in ours])

    def park(self, held: Sequence[Held]) -> None:
        """Give leases up and keep the messages: these jobs are claimed again when their turn comes."""
        Ledger(self._worker).release(_works(held))
        for item in held:
            item.work = None

    def conclude(self, ended: Sequence[tuple[Held, Outcome]]) -> None:
        """Tell the queues, in few calls, and drop them."""
        by_queue: dict[str, list[tuple[Delivery, Outcome]]] = {}
        for held, outcome in ended:
            by_queue.setdefault(held.queue, []).append((held.delivery, outcome))
        for name, told in by_queue.items():
            try:
                conclude(self._queues[name], told, parallel=self._worker.parallel)
            except Exception as error:  # noqa: BLE001  a message that cannot be told of lapses, and comes again
                self._worker.reporter.defect(error, None)
        self._hand.drop(held for held, _ in ended)

    def _settle(
        self,
        *,
        ended: Sequence[tuple[Held, Ending]] = (),
        failed: Sequence[tuple[Held, LanewayError]] = (),
    ) -> None:
        held = [item for item, _ in (*ended, *failed)]
        if not held:
            return
        for position, item in enumerate(held):
            item.ending = True
            if item.work is not None:
                item.work.position = position
        ledger = Ledger(self._worker)
        ledger.publish([(item.work, ending) for item, ending in ended if item.work is not None])
        ledger.fail([(item.work, error) for item, error in failed if item.work is not None])
        self.conclude(list(zip(held, self._outcomes(ledger, len(held)), strict=True)))

    def _outcomes(self, ledger: Ledger, count: int) -> Sequence[Outcome]:
        try:
            outcomes = ledger.settle(count)
        except UnavailableError as error:
            if isinstance(error, StoreUnavailableError):
                self._outage.met()
            return [Retry(jitter_s()) for _ in range(count)]
        self._outage.over()
        return outcomes

    def _is_ours(self, held: Held) -> bool:
        """Whether it may be ended here. What is lost is dropped, and its message left to lapse."""
        if held.lost:
            if held.work is not None:
                row = held.work.row
                self._worker.reporter.job(
                    JobFacts(row=row, outcome="lost", status=0, run=held.work.run)
                )
            self._hand.drop([held])
        return not held.lost


def _works(held: Sequence[Held]) -> list[Work]:
    return [item.work for item in held if item.work is not None]
