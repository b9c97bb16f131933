"""Q1 and Q2: what a queue worker does with a delivery, in one process with stores in memory.

Q1 compares the part that stacking changes, from tensors to each record's outputs, with `session.run`
for each record on the same tensors. Beside it, against the same `session.run`: what the worker does
from each record's bytes to its answer's. Q2 is what leasing, publishing and acknowledging add to that.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Sequence

from benchmarks.harness.children import Child, Sample, interleave
from benchmarks.harness.events import one_row_request
from benchmarks.harness.figure import Effort, Figure, noisy
from benchmarks.harness.packages import EMBEDDING, ENVIRONMENT, ROOT, TABULAR, BenchModel
from benchmarks.harness.spread import Spread, paired_ratio, spread

COUNTS = (1, 10, 100, 1000)
_JUDGED = (10, 100)
LONG = 1000
"""So many sentences take seconds one by one: they are run once in a child, and not in a quick run."""
_QUICK_BLOCK_S = 0.1
_ROUNDS_SHARE = 3


def measure_stacking(effort: Effort) -> list[Figure]:
    """Q1, for the tabular and the embedding model."""
    models = {"tabular": TABULAR, "embedding": EMBEDDING}
    return [
        figure
        for kind, model in models.items()
        for figure in _figures(kind, _measure(model, COUNTS, effort))
    ]


def measure_machinery(effort: Effort) -> list[Figure]:
    """Q2."""
    samples = _measure(TABULAR, (10,), effort)[10]
    whole, bare = _values(samples, "delivery_us"), _values(samples, "worker_us")
    added = [with_jobs - without for with_jobs, without in zip(whole, bare, strict=True)]
    return [
        Figure(
            key="Q2",
            value=spread(added),
            parts={"delivery us": spread(whole), "without jobs us": spread(bare)},
            noisy=noisy(samples),
            note="per job, no log line, the stores' calls in the worker's own thread",
        )
    ]


def _measure(
    model: BenchModel, counts: Sequence[int], effort: Effort
) -> dict[int, Sequence[Sample]]:
    one_row_request(model.name)
    assert model.file.is_file()
    if model is EMBEDDING and effort.block_s < _QUICK_BLOCK_S:
        counts = [count for count in counts if count < LONG]
    children = {str(count): _child(model, count, effort) for count in counts}
    rounds = max(1, effort.rounds // _ROUNDS_SHARE)
    samples = interleave(children, rounds=rounds, patience=effort.patience)
    return {int(count): taken for count, taken in samples.items()}


def _child(model: BenchModel, count: int, effort: Effort) -> Child:
    folders = f"{ROOT}:{sysconfig.get_path('purelib')}"
    blocks = 1 if model is EMBEDDING and count >= LONG else effort.blocks
    arguments = (folders, model.name, count, blocks, effort.block_s)
    return Child("jobs.py", tuple(str(argument) for argument in arguments), ENVIRONMENT)


def _figures(kind: str, samples: dict[int, Sequence[Sample]]) -> list[Figure]:
    stacked = _against_floor(samples, "stacked_us")
    worker = _against_floor(samples, "worker_us")
    best = min(worker, key=lambda count: worker[count].median)
    return [
        Figure(
            key=f"Q1.{kind}.{count}",
            value=stacked[count],
            parts={
                "stacked us": spread(_values(samples[count], "stacked_us")),
                "session.run us": spread(_values(samples[count], "floor_us")),
                "bytes to bytes us": spread(_values(samples[count], "worker_us")),
                "with jobs us": spread(_values(samples[count], "delivery_us")),
                **{f"x at {other}": stacked[other] for other in stacked if other not in _JUDGED},
                **{f"x bytes to bytes at {other}": worker[other] for other in worker},
            },
            noisy=noisy(samples[count]),
            note=f"per record of one row; all of one shape; bytes to bytes best at {best}",
        )
        for count in _JUDGED
    ]


def _against_floor(samples: dict[int, Sequence[Sample]], way: str) -> dict[int, Spread]:
    """By the size of a delivery: time per record / that of `session.run` for each record."""
    return {
        count: paired_ratio(_values(taken, way), _values(taken, "floor_us"))
        for count, taken in samples.items()
    }


def _values(samples: Sequence[Sample], name: str) -> list[float]:
    """The blocks of every sample, one after the other."""
    return [value for sample in samples for value in sample.report[name]]
