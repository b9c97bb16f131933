"""G1: the long-lived worker with a full queue, against `session.run` at the best batch size.

The bar is on rows/s, at least 0.90 of the floor's; time per row is its inverse, at most 1.11. Both ways
run the same session with one thread, so that the machine's other core is to the worker what the whole
CPU is beside a GPU; with all threads the two compete, and that stands beside it.
"""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Sequence

from benchmarks.harness.children import Child, Sample
from benchmarks.harness.events import one_row_request
from benchmarks.harness.figure import Effort, Figure, noisy
from benchmarks.harness.packages import EMBEDDING, ENVIRONMENT, HEAVY, ROOT, BenchModel
from benchmarks.harness.spread import paired_ratio, spread

MODELS = {"embedding": EMBEDDING, "heavy": HEAVY}
_ROUNDS_SHARE = 4
_BLOCKS = 3
_BLOCK_S = 2.0
_QUICK_BLOCK_S = 0.1


def measure_worker(effort: Effort) -> list[Figure]:
    """G1, for the embedding model and for the one that reads lines of text."""
    return [_figure(kind, model, effort) for kind, model in MODELS.items()]


def _figure(kind: str, model: BenchModel, effort: Effort) -> Figure:
    one_row_request(model.name)
    assert model.file.is_file()
    cores = os.cpu_count() or 1
    rounds = max(1, effort.rounds // _ROUNDS_SHARE)
    alone = [effort.patience.measure(_child(model, 1, effort)) for _ in range(rounds)]
    ours, floor = _values(alone, "worker_us"), _values(alone, "floor_us")
    parts = {
        "worker us": spread(ours),
        "session.run us": spread(floor),
        "best batch": spread(_values(alone, "size")),
        "rows stacked": spread(_values(alone, "stacked")),
        "device busy": spread(_values(alone, "busy")),
    }
    if cores > 1:
        every = [effort.patience.measure(_child(model, cores, effort))]
        parts[f"x on {cores} threads"] = paired_ratio(
            _values(every, "worker_us"), _values(every, "floor_us")
        )
    return Figure(
        key=f"G1.memory.{kind}",
        value=paired_ratio(ours, floor),
        parts=parts,
        noisy=noisy(alone),
        note="per row; rows/s at least 0.90 of the floor is 1.11; stores and queue in memory",
    )


def _child(model: BenchModel, threads: int, effort: Effort) -> Child:
    quick = effort.block_s < _QUICK_BLOCK_S
    folders = f"{ROOT}:{sysconfig.get_path('purelib')}"
    block_s = 0.2 if quick else _BLOCK_S
    arguments = (folders, model.name, 1 if quick else _BLOCKS, block_s, threads)
    return Child("worker.py", tuple(str(argument) for argument in arguments), ENVIRONMENT)


def _values(samples: Sequence[Sample], name: str) -> list[float]:
    """The blocks of every sample, one after the other."""
    return [value for sample in samples for value in sample.report[name]]
