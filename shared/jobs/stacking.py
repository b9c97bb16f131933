"""Runs jobs in as few runs of their models as their inputs allow, each stack published before the next.

Before each run the time that is left is compared with what a run of the model took before; what
does not fit is handed back. A stack that fails is run again one by one, so that a failure is its
own job's alone.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

from shared.errors import DeadlineExceededError, LanewayError, ModelUnavailableError
from shared.inference.batching import Stacker
from shared.jobs.answers import answer, load_input, prepare
from shared.jobs.failures import as_failure, guarded
from shared.jobs.work import Refused
from shared.results.store import RunFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from shared.inference.pipeline import Prepared, ServedModel
    from shared.jobs.ledger import Ledger
    from shared.jobs.work import Answered, Ending, Work, Worker

    Member = tuple[Work, Prepared]

PACE_KEPT: Final = 0.7
"""What remains of a model's slowest run with each run since."""


class Paces:
    """Seconds that a run of each model took lately; kept from delivery to delivery."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, str], float] = {}

    def expect_s(self, model: tuple[str, str]) -> float:
        """What the next run may take; 0 for a model that never ran."""
        return self._seconds.get(model, 0.0)

    def note(self, model: tuple[str, str], took_s: float) -> None:
        """A run ended, well or badly."""
        self._seconds[model] = max(took_s, self.expect_s(model) * PACE_KEPT)


class Stacking:
    """The runs of one delivery. `until_s`: on the monotonic clock, when the last must have ended."""

    def __init__(self, worker: Worker, ledger: Ledger, paces: Paces, *, until_s: float) -> None:
        self._worker = worker
        self._ledger = ledger
        self._paces = paces
        self._until_s = until_s
        self._ran = False

    def has_time(self, model: tuple[str, str]) -> bool:
        """Whether another run fits. The first of a delivery is tried: a slow model must run somewhere."""
        left_s = self._until_s - time.monotonic()
        return left_s > (self._paces.expect_s(model) if self._ran else 0.0)

    def run(self, works: Sequence[Work]) -> None:
        """Run claimed jobs, whatever their models; every one of them is in the ledger then."""
        groups: dict[tuple[str, str], list[tuple[Work, bytes]]] = {}
        for work, data in self._load(works):
            groups.setdefault(work.model, []).append((work, data))
        for (name, version), members in groups.items():
            self._run_group(name, version, members)

    def _load(self, works: Sequence[Work]) -> Iterable[tuple[Work, bytes]]:
        """The inputs of those that can be run; the others have failed."""
        worker = self._worker
        self._ledger.fail([(work, work.refusal) for work in works if work.refusal is not None])
        runnable = [work for work in works if work.refusal is None]
        stored = [work for work in runnable if work.row.input.inline is None]
        fetched = worker.parallel.map(
            lambda work: guarded(worker, work, partial(load_input, worker, work)), stored
        )
        self._ledger.fail(
            [
                (work, data)
                for work, data in zip(stored, fetched, strict=True)
                if isinstance(data, LanewayError)
            ]
        )
        known = dict(zip(stored, fetched, strict=True))
        for work in runnable:
            data = known.get(work, work.row.input.inline)
            if isinstance(data, bytes):
                yield work, data

    def _run_group(self, name: str, version: str, members: list[tuple[Work, bytes]]) -> None:
        worker = self._worker
        try:
            model = worker.catalog.find(name, version)[0]
            lease = worker.sessions.use(name, version)
        except Exception as error:  # noqa: BLE001  a model that cannot be loaded must not take the others with it
            self._ledger.fail([(work, _not_loaded(worker, work, error)) for work, _ in members])
            return
        with lease as served:
            ready = self._prepare(served, members)
            stacker = Stacker(served, rows_max=model.max_batch_size)
            for stack in stacker.plan([prepared for _, prepared in ready]):
                self._run_stack(served, stacker, [ready[index] for index in stack])

    def _prepare(self, served: ServedModel, members: list[tuple[Work, bytes]]) -> list[Member]:
        worker = self._worker
        ready: list[Member] = []
        failed: list[tuple[Work, LanewayError]] = []
        for work, data in members:
            made = guarded(worker, work, partial(prepare, worker, served, work, data))
            if isinstance(made, LanewayError):
                failed.append((work, made))
            else:
                ready.append((work, made))
        self._ledger.fail(failed)
        return ready

    def _run_stack(self, served: ServedModel, stacker: Stacker, stack: list[Member]) -> None:
        """Run jobs together; where that fails, each alone."""
        works = [work for work, _ in stack]
        if not self.has_time(works[0].model):
            self._ledger.hand_back(works)
            return
        started_s = time.monotonic()
        deadline_s = min(self._until_s, started_s + min(work.row.timeout_s for work in works))
        try:
            outputs = stacker.run([prepared for _, prepared in stack], deadline_s)
        except Exception as error:  # noqa: BLE001  whatever a model raises is the failure of its jobs alone
            self._note(works, time.monotonic() - started_s)
            if isinstance(error, DeadlineExceededError) and deadline_s == self._until_s:
                self._ledger.interrupted(works, error)
            elif len(stack) > 1:
                for member in stack:
                    self._run_stack(served, stacker, [member])
            else:
                self._ledger.fail([(works[0], as_failure(self._worker, works[0], error))])
            return
        self._note(works, time.monotonic() - started_s)
        self._ledger.publish(
            [
                (work, _ending(self._worker, work, partial(answer, served, prepared, results)))
                for (work, prepared), results in zip(stack, outputs, strict=True)
            ]
        )

    def _note(self, works: Sequence[Work], took_s: float) -> None:
        self._paces.note(works[0].model, took_s)
        self._ran = True
        for work in works:
            row = work.row
            waited_s = (row.started_at or row.created_at) - row.created_at
            work.run = RunFacts(
                queue_ms=waited_s * 1000, run_ms=took_s * 1000, rows_stacked=len(works)
            )


def _ending(worker: Worker, work: Work, make: Callable[[], Answered]) -> Ending:
    made = guarded(worker, work, make)
    return Refused(made) if isinstance(made, LanewayError) else made


def _not_loaded(worker: Worker, work: Work, error: Exception) -> LanewayError:
    """A load that failed otherwise than it may is a defect, and a later one may succeed."""
    if isinstance(error, LanewayError):
        return error
    worker.reporter.defect(error, work.row)
    return ModelUnavailableError(f"loading model {work.row.model!r} raised {type(error).__name__}")
