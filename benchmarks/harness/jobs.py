"""Q1 and Q2: what a queue worker does with a delivery, in one process with stores in memory.

Q1 compares the part that stacking changes, from tensors to each record's outputs, with `session.run`
for each record on the same tensors; the whole from bytes to bytes stands beside it. Q2 is what
leasing, publishing and acknowledging add to that whole.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Sequence

from benchmarks.harness.children import Child, Sample, interleave
from benchmarks.harness.events import one_row_request
from benchmarks.harness.figure import Effort, Figure, noisy
from benchmarks.harness.packages import EMBEDDING, ENVIRONMENT, ROOT, TABULAR, BenchModel
from benchmarks.harness.spread import paired_ratio, spread

COUNTS = {"tabular": (1, 10, 100, 1000), "embedding": (1, 10, 100)}
"""A thousand sentences one by one take longer than a block."""
_JUDGED = (10, 100)
_ROUNDS_SHARE = 3


def measure_stacking(effort: Effort) -> list[Figure]:
    """Q1, for the tabular and the embedding model."""
    models = {"tabular": TABULAR, "embedding": EMBEDDING}
    return [
        figure
        for kind, model in models.items()
        for figure in _figures(kind, _measure(model, COUNTS[kind], effort))
    ]


def measure_machinery(effort: Effort) -> list[Figure]:
    """Q2."""
    samples = _measure(TABULAR, (10,), effort)[10]
    whole, bare = _values(samples, "delivery_us"), _values(samples, "pipeline_us")
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
    children = {str(count): _child(model, count, effort) for count in counts}
    rounds = max(1, effort.rounds // _ROUNDS_SHARE)
    samples = interleave(children, rounds=rounds, patience=effort.patience)
    return {count: samples[str(count)] for count in counts}


def _child(model: BenchModel, count: int, effort: Effort) -> Child:
    folders = f"{ROOT}:{sysconfig.get_path('purelib')}"
    arguments = (folders, model.name, count, effort.blocks, effort.block_s)
    return Child("jobs.py", tuple(str(argument) for argument in arguments), ENVIRONMENT)


def _figures(kind: str, samples: dict[int, Sequence[Sample]]) -> list[Figure]:
    ratios = {
        count: paired_ratio(_values(taken, "stacked_us"), _values(taken, "floor_us"))
        for count, taken in samples.items()
    }
    others = {f"x at {count}": ratio for count, ratio in ratios.items() if count not in _JUDGED}
    return [
        Figure(
            key=f"Q1.{kind}.{count}",
            value=ratios[count],
            parts={
                "stacked us": spread(_values(samples[count], "stacked_us")),
                "session.run us": spread(_values(samples[count], "floor_us")),
                "bytes to bytes us": spread(_values(samples[count], "pipeline_us")),
                "with jobs us": spread(_values(samples[count], "delivery_us")),
                **others,
            },
            noisy=noisy(samples[count]),
            note="per record of one row; all of one shape",
        )
        for count in _JUDGED
    ]


def _values(samples: Sequence[Sample], name: str) -> list[float]:
    """The blocks of every sample, one after the other."""
    return [value for sample in samples for value in sample.report[name]]
