"""D1: a worker on an instance that is taken away, from the notice until nothing is in its hands.

`full` has a real notice's two minutes, the deployed polling and a queue that never empties: it finishes
what it has in hand and leaves the rest. `long` has runs that outlast the notice: what is judged is
the time that aborting, releasing and handing back take after the time to finish is over.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Sequence

from benchmarks.harness.children import Child, Sample, interleave
from benchmarks.harness.events import one_row_request
from benchmarks.harness.figure import Effort, Figure, noisy
from benchmarks.harness.packages import ENVIRONMENT, HEAVY, ROOT
from benchmarks.harness.spread import spread

_ROUNDS_SHARE = 3


def measure_interruption(effort: Effort) -> list[Figure]:
    """D1, for the model that reads lines of text."""
    one_row_request(HEAVY.name)
    folders = f"{ROOT}:{sysconfig.get_path('purelib')}"
    children = {
        what: Child("interruption.py", (folders, HEAVY.name, what), ENVIRONMENT)
        for what in ("full", "long")
    }
    rounds = max(1, effort.rounds // _ROUNDS_SHARE)
    samples = interleave(children, rounds=rounds, patience=effort.patience)
    return [
        _figure(
            "D1.full",
            samples["full"],
            judged="ended_s",
            note="notice of 120 s, polled each 5 s; from the notice to the worker's end",
        ),
        _figure(
            "D1.long",
            samples["long"],
            judged="over_s",
            note="runs of 32 rows; from when no run may go on until the last is handed back",
        ),
    ]


def _figure(key: str, samples: Sequence[Sample], *, judged: str, note: str) -> Figure:
    parts = {
        "noticed s": "seen_s",
        "nothing in hand s": "empty_s",
        "ended s": "ended_s",
        "jobs finished": "finished",
        "jobs left": "left",
    }
    return Figure(
        key=key,
        value=spread(_values(samples, judged)),
        parts={shown: spread(_values(samples, name)) for shown, name in parts.items()},
        noisy=noisy(samples),
        note=note,
    )


def _values(samples: Sequence[Sample], name: str) -> list[float]:
    return [sample.report[name] for sample in samples]
