"""The steps of a stack of jobs: inputs are loaded, become tensors, run, and outputs become endings.

Each step is told apart from the others, so that one thread may do all of them or each have its own.
A job that fails in a step is given back with its failure, and costs the others nothing.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from shared.errors import DeadlineExceededError, LanewayError, ModelUnavailableError
from shared.jobs.answers import answer, load_input, prepare
from shared.jobs.failures import as_failure, guarded
from shared.jobs.work import Refused
from shared.results.store import RunFacts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from shared.inference.batching import Stacker
    from shared.inference.pipeline import Prepared, ServedModel
    from shared.inference.sessions import Lease
    from shared.jobs.work import Ending, Work, Worker

    Member = tuple[Work, Prepared]
    Failed = tuple[Work, LanewayError]

T = TypeVar("T")


class Ran(NamedTuple):
    """Jobs that ran together: the share of each of the outputs, or why there is none."""

    members: list[Member]
    outputs: list[list[NDArray[Any]]] | LanewayError
    took_s: float
    stopped: bool = False
    """Whoever ran them had to end; it was not the jobs' own time that was over."""

    @property
    def apart(self) -> bool:
        """Whether each should be run again alone, so that a failure is its own job's."""
        return len(self.members) > 1 and isinstance(self.outputs, LanewayError) and not self.stopped


def load_inputs(
    worker: Worker, works: Sequence[Work]
) -> tuple[list[tuple[Work, bytes]], list[Failed]]:
    """The inputs of those jobs that can be run, fetched at the same time, and the others' failures."""
    failed: list[Failed] = [(work, work.refusal) for work in works if work.refusal is not None]
    runnable = [work for work in works if work.refusal is None]
    stored = [work for work in runnable if work.row.input.inline is None]
    fetched = worker.parallel.map(
        lambda work: guarded(worker, work, partial(load_input, worker, work)), stored
    )
    known = dict(zip(stored, fetched, strict=True))
    loaded = [(work, known.get(work, work.row.input.inline)) for work in runnable]
    ready, refused = _apart(loaded)
    return [(work, data) for work, data in ready if data is not None], failed + refused


def use_model(worker: Worker, works: Sequence[Work]) -> Lease[ServedModel] | list[Failed]:
    """A lease of the model that these jobs are for, or the failure of each."""
    name, version = works[0].model
    try:
        return worker.sessions.use(name, version)
    except Exception as error:  # noqa: BLE001  a model that cannot be loaded must not take the others with it
        return [(work, _not_loaded(worker, work, error)) for work in works]


def prepare_all(
    worker: Worker, served: ServedModel, loaded: Iterable[tuple[Work, bytes]]
) -> tuple[list[Member], list[Failed]]:
    """The jobs' tensors, and the failures of those whose input is not what the model takes."""
    return _apart(
        [
            (work, guarded(worker, work, partial(prepare, worker, served, work, data)))
            for work, data in loaded
        ]
    )


def run_stack(worker: Worker, stacker: Stacker, members: list[Member], *, until_s: float) -> Ran:
    """Run jobs together.

    `until_s`: on the monotonic clock, when whoever runs them must have ended. Each job's own
    `timeout_s` bounds the run too.
    """
    started_s = time.monotonic()
    deadline_s = min(until_s, started_s + min(work.row.timeout_s for work, _ in members))
    try:
        outputs = stacker.run([prepared for _, prepared in members], deadline_s)
    except Exception as error:  # noqa: BLE001  whatever a model raises is the failure of its jobs alone
        took_s = note_run([work for work, _ in members], started_s)
        failure = as_failure(worker, members[0][0], error)
        stopped = isinstance(failure, DeadlineExceededError) and deadline_s == until_s
        return Ran(members, failure, took_s, stopped=stopped)
    return Ran(members, outputs, note_run([work for work, _ in members], started_s))


def endings(worker: Worker, served: ServedModel, ran: Ran) -> list[tuple[Work, Ending]]:
    """How jobs that ran end: with their answers, or with why one could not be made."""
    if isinstance(ran.outputs, LanewayError):
        return [(work, Refused(ran.outputs)) for work, _ in ran.members]
    made = [
        (work, guarded(worker, work, partial(answer, served, prepared, outputs)))
        for (work, prepared), outputs in zip(ran.members, ran.outputs, strict=True)
    ]
    return [
        (work, Refused(item) if isinstance(item, LanewayError) else item) for work, item in made
    ]


def note_run(works: Sequence[Work], started_s: float) -> float:
    """Write down a run in each of its jobs; gives the seconds that it took."""
    took_s = time.monotonic() - started_s
    run_ms, count = took_s * 1000, len(works)
    for work in works:
        row = work.row
        waited_s = (row.started_at or row.created_at) - row.created_at
        work.run = RunFacts(waited_s * 1000, run_ms, count)
    return took_s


def _apart(
    items: Sequence[tuple[Work, T | LanewayError]],
) -> tuple[list[tuple[Work, T]], list[Failed]]:
    made: list[tuple[Work, T]] = []
    failed: list[Failed] = []
    for work, item in items:
        if isinstance(item, LanewayError):
            failed.append((work, item))
        else:
            made.append((work, item))
    return made, failed


def _not_loaded(worker: Worker, work: Work, error: Exception) -> LanewayError:
    """A load that failed otherwise than it may is a defect, and a later one may succeed."""
    if isinstance(error, LanewayError):
        return error
    worker.reporter.defect(error, work.row)
    return ModelUnavailableError(f"loading model {work.row.model!r} raised {type(error).__name__}")
