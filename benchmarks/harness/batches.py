"""B1: what a line of a batch costs a worker process, against reading, running and writing it bare.

The bar is on rows/s, at least 0.7 of the floor's; time per line is its inverse, at most 1.43. The
floor takes the best of several stack sizes, parses and writes with orjson, and checks nothing.
"""

from __future__ import annotations

import sysconfig

from benchmarks.harness.children import Child, interleave
from benchmarks.harness.events import one_row_request
from benchmarks.harness.figure import Effort, Figure, noisy
from benchmarks.harness.packages import ENVIRONMENT, ROOT, TABULAR
from benchmarks.harness.spread import fastest_ratio, paired_ratio, spread

LINES = 20_000
LINES_QUICK = 2_000
_QUICK_BLOCK_S = 0.1
_ROUNDS_SHARE = 3


def measure_batches(effort: Effort) -> list[Figure]:
    """B1, for the tabular model."""
    one_row_request(TABULAR.name)  # raises where the model was not fetched
    lines = LINES_QUICK if effort.block_s < _QUICK_BLOCK_S else LINES
    folders = f"{ROOT}:{sysconfig.get_path('purelib')}"
    arguments = tuple(str(item) for item in (folders, TABULAR.name, lines, effort.blocks))
    child = Child("batch.py", arguments, ENVIRONMENT)
    rounds = max(1, effort.rounds // _ROUNDS_SHARE)
    samples = interleave({"B1": child}, rounds=rounds, patience=effort.patience)["B1"]
    ours = [value for sample in samples for value in sample.report["batch_us"]]
    floor = [value for sample in samples for value in sample.report["floor_us"]]
    return [
        Figure(
            key="B1",
            value=paired_ratio(ours, floor),
            parts={
                "line us": spread(ours),
                "bare us": spread(floor),
                "rows/s": spread([1e6 / value for value in ours]),
                "fastest x": fastest_ratio(ours, floor),
            },
            noisy=noisy(samples),
            note=f"{lines} lines of one row, one process; rows/s at least 0.7 of the floor is 1.43",
        )
    ]
