"""Runs the jobs of one delivery in as few runs of their models as their inputs allow.

Plain inputs of one shape run as columns, the others as stacks of tensors, and what fails so, alone.

Each stack is published before the next one runs. Before each run the time that is left is compared
with what a run of the model took before; what does not fit is handed back.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from shared.errors import LanewayError
from shared.jobs.columns import plan_columns, run_column
from shared.jobs.steps import endings, load_inputs, prepare_all, run_stack, use_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.inference.batching import Stacker
    from shared.inference.pipeline import Prepared, ServedModel
    from shared.jobs.columns import Column, KnownWays, Ways
    from shared.jobs.ledger import Ledger
    from shared.jobs.work import Work, Worker

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

    def __init__(
        self, worker: Worker, ledger: Ledger, paces: Paces, ways: KnownWays, *, until_s: float
    ) -> None:
        self._worker = worker
        self._ledger = ledger
        self._paces = paces
        self._ways = ways
        self._until_s = until_s
        self._ran = False

    def has_time(self, model: tuple[str, str]) -> bool:
        """Whether another run fits. The first of a delivery is tried: a slow model must run somewhere."""
        left_s = self._until_s - time.monotonic()
        return left_s > (self._paces.expect_s(model) if self._ran else 0.0)

    def run(self, works: Sequence[Work]) -> None:
        """Run claimed jobs, whatever their models; every one of them is in the ledger then."""
        loaded, failed = load_inputs(self._worker, works)
        self._ledger.fail(failed)
        groups: dict[tuple[str, str], list[tuple[Work, bytes]]] = {}
        for work, data in loaded:
            groups.setdefault(work.model, []).append((work, data))
        for members in groups.values():
            self._run_group(members)

    def _run_group(self, members: list[tuple[Work, bytes]]) -> None:
        worker = self._worker
        lease = use_model(worker, [work for work, _ in members])
        if isinstance(lease, list):
            self._ledger.fail(lease)
            return
        with lease as served:
            model = worker.catalog.model(served.name)
            ways = self._ways.of(model, served)
            columns, rest = plan_columns(ways.bulk, members, rows_max=model.max_batch_size)
            for column in columns:
                self._run_column(served, ways, column)
            self._run_stacks(served, ways.stacker, rest)

    def _run_column(self, served: ServedModel, ways: Ways, column: Column) -> None:
        works = column.works
        model = works[0].model
        if not self.has_time(model):
            self._ledger.hand_back(works)
            return
        ran = run_column(ways.bulk, column, until_s=self._until_s)
        self._paces.note(model, ran.took_s)
        self._ran = True
        if ran.endings is not None:
            self._ledger.publish(ran.endings)
        elif ran.stopped is not None:
            self._ledger.interrupted(works, ran.stopped)
        elif ran.apart:
            for member in column.members:
                self._run_stacks(served, ways.stacker, [member])
        else:
            self._run_stacks(served, ways.stacker, column.members)

    def _run_stacks(
        self, served: ServedModel, stacker: Stacker, members: list[tuple[Work, bytes]]
    ) -> None:
        ready, failed = prepare_all(self._worker, served, members)
        self._ledger.fail(failed)
        for stack in stacker.plan([prepared for _, prepared in ready]):
            self._run_stack(served, stacker, [ready[index] for index in stack])

    def _run_stack(
        self, served: ServedModel, stacker: Stacker, stack: list[tuple[Work, Prepared]]
    ) -> None:
        works = [work for work, _ in stack]
        model = works[0].model
        if not self.has_time(model):
            self._ledger.hand_back(works)
            return
        ran = run_stack(self._worker, stacker, stack, until_s=self._until_s)
        self._paces.note(model, ran.took_s)
        self._ran = True
        if ran.apart:
            for member in stack:
                self._run_stack(served, stacker, [member])
        elif not isinstance(ran.outputs, LanewayError):
            self._ledger.publish(endings(self._worker, served, ran))
        elif ran.stopped:
            self._ledger.interrupted(works, ran.outputs)
        else:
            self._ledger.fail([(works[0], ran.outputs)])
