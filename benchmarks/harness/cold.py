"""C1, C2, C3 and C6: from spawning an interpreter to the first answer.

Each variant is measured with the floor directly before it; C2 and C3 compare samples of one round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.harness import packages
from benchmarks.harness.children import Child, Patience, Sample, interleave
from benchmarks.harness.events import infer_event, one_row_request, raw_inputs
from benchmarks.harness.figure import Effort, Figure, noisy
from benchmarks.harness.packages import EMBEDDING, ENVIRONMENT, TABULAR, Package
from benchmarks.harness.spread import Spread, fastest_ratio, paired_ratio, spread

_C2_PEERS = {"C2.fastapi": "fastapi_mangum", "C2.powertools": "powertools_resolver"}


def measure_tabular(effort: Effort) -> list[Figure]:
    """C1, C2 and C6, which share their children."""
    request = one_row_request(TABULAR.name)
    event = str(infer_event(TABULAR.name, request))
    model = str(TABULAR.file)
    inputs = str(raw_inputs(TABULAR.name, request))
    children = {
        "floor": Child("floor.py", (str(packages.floor_package()), model, inputs)),
        "ours": _child(packages.our_package(TABULAR.name), event),
        **{
            key: _child(packages.peer_package(peer, TABULAR), event)
            for key, peer in _C2_PEERS.items()
        },
    }
    samples = interleave(children, rounds=effort.rounds, patience=effort.patience, floor="floor")
    _all_answered(samples, children)
    return [_c1(samples), *(_c2(samples, key) for key in _C2_PEERS), _c6(samples["ours"])]


def measure_embedding(effort: Effort) -> list[Figure]:
    """C3."""
    event = str(infer_event(EMBEDDING.name, one_row_request(EMBEDDING.name)))
    children = {
        "ours": _child(packages.our_package(EMBEDDING.name), event),
        "typical": _child(packages.peer_package("typical", EMBEDDING), event),
    }
    samples = interleave(children, rounds=effort.rounds, patience=effort.patience)
    _all_answered(samples, children)
    return [
        Figure(
            key="C3",
            value=paired_ratio(_wall(samples["ours"]), _wall(samples["typical"])),
            parts={
                "ours ms": _ms(samples, "ours"),
                "typical stack ms": _ms(samples, "typical"),
                "fastest x": fastest_ratio(_wall(samples["ours"]), _wall(samples["typical"])),
            },
            noisy=noisy([*samples["ours"], *samples["typical"]]),
            note=_cpu_note(samples, "ours", "typical"),
        )
    ]


def _child(package: Package, event: str) -> Child:
    return Child("cold.py", (package.search_path, package.handler, event), ENVIRONMENT)


def _c1(samples: Mapping[str, Sequence[Sample]]) -> Figure:
    return Figure(
        key="C1",
        value=paired_ratio(_wall(samples["ours"]), _wall(samples["ours|floor"])),
        parts={
            "ours ms": _ms(samples, "ours"),
            "floor ms": _ms(samples, "ours|floor"),
            "fastest x": fastest_ratio(_wall(samples["ours"]), _wall(samples["ours|floor"])),
        },
        noisy=noisy([*samples["ours"], *samples["ours|floor"]]),
        note=_cpu_note(samples, "ours", "ours|floor"),
    )


def _c2(samples: Mapping[str, Sequence[Sample]], key: str) -> Figure:
    return Figure(
        key=key,
        value=paired_ratio(_wall(samples["ours"]), _wall(samples[key])),
        parts={
            "ours ms": _ms(samples, "ours"),
            "peer ms": _ms(samples, key),
            "fastest x": fastest_ratio(_wall(samples["ours"]), _wall(samples[key])),
            "peer / floor x": paired_ratio(_wall(samples[key]), _wall(samples[f"{key}|floor"])),
        },
        noisy=noisy([*samples["ours"], *samples[key]]),
        note=_cpu_note(samples, "ours", key),
    )


def _c6(ours: Sequence[Sample]) -> Figure:
    heavy = sorted({name for sample in ours for name in sample.report["heavy"]})
    counts = spread([float(sample.report["modules"]) for sample in ours])
    return Figure(
        key="C6",
        value=spread([float(len(heavy))]),
        parts={"modules imported": counts},
        note=", ".join(heavy) or "none of them, after the first answer",
    )


def _all_answered(samples: Mapping[str, Sequence[Sample]], children: Mapping[str, Child]) -> None:
    """A fast refusal is no answer: stop unless every sample of every handler is a 200."""
    for name in children:
        for sample in samples.get(name, ()):
            if sample.report["status"] != 200:
                raise AssertionError(f"{name} answered {sample.report}")


def _wall(samples: Sequence[Sample]) -> list[float]:
    return [sample.wall_ms for sample in samples]


def _ms(samples: Mapping[str, Sequence[Sample]], name: str) -> Spread:
    return spread(_wall(samples[name]))


def _cpu_note(samples: Mapping[str, Sequence[Sample]], ours: str, theirs: str) -> str:
    cpu = paired_ratio(
        [sample.cpu_ms for sample in samples[ours]], [sample.cpu_ms for sample in samples[theirs]]
    )
    return f"CPU time {cpu.median:.2f}x"


def default_patience() -> Patience:
    """Up to five attempts a sample within three minutes in all."""
    return Patience(attempts=5, left_s=180)
