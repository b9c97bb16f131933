"""W1 to W4: what the handler and the codec add once everything is loaded.

W1, W3 and W4 are ratios inside one process. W2 compares two processes of one round, each with the
same `session.run` beside it, so that the floor shows how far the two could be compared at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.harness import packages
from benchmarks.harness.children import Child, Sample, interleave
from benchmarks.harness.events import infer_event, one_row_request, raw_inputs
from benchmarks.harness.figure import Effort, Figure, noisy
from benchmarks.harness.packages import (
    EMBEDDING,
    ENVIRONMENT,
    SMALLEST,
    TABULAR,
    BenchModel,
    Package,
)
from benchmarks.harness.spread import fastest_ratio, paired_ratio, spread


def measure_silent(effort: Effort) -> list[Figure]:
    """W1 on the smallest and on the default version of the tabular model."""
    package = packages.our_package(TABULAR.name)
    children = {
        "W1.tree": _child(package, SMALLEST, effort, mode="silent"),
        "W1.forest": _child(package, TABULAR, effort, mode="silent"),
    }
    samples = interleave(children, rounds=effort.rounds, patience=effort.patience)
    return [_against_floor(key, samples[key]) for key in children]


def measure_shipped(effort: Effort) -> list[Figure]:
    """W2."""
    children = {
        "ours": _child(packages.our_package(TABULAR.name), SMALLEST, effort),
        "peer": _child(packages.peer_package("powertools_full", SMALLEST), SMALLEST, effort),
    }
    samples = interleave(children, rounds=effort.rounds, patience=effort.patience)
    _all_answered(samples)
    ours, peer = (_medians(samples[name], "handler_us") for name in ("ours", "peer"))
    return [
        Figure(
            key="W2",
            value=paired_ratio(ours, peer),
            parts={
                "ours us": spread(ours),
                "fastest x": fastest_ratio(ours, peer),
                "all Powertools us": spread(peer),
                "floor us": spread(_medians(samples["ours"], "floor_us")),
                "floor beside the peer us": spread(_medians(samples["peer"], "floor_us")),
            },
            noisy=noisy([*samples["ours"], *samples["peer"]]),
        )
    ]


def measure_embedding(effort: Effort) -> list[Figure]:
    """W3."""
    child = _child(packages.our_package(EMBEDDING.name), EMBEDDING, effort)
    samples = interleave({"W3": child}, rounds=effort.rounds, patience=effort.patience)
    return [_against_floor("W3", samples["W3"])]


def measure_codec(effort: Effort) -> list[Figure]:
    """W4."""
    package = packages.our_package(TABULAR.name)
    child = Child("codec.py", (package.search_path, str(effort.blocks * 5)), ENVIRONMENT)
    samples = interleave({"W4": child}, rounds=max(1, effort.rounds // 3), patience=effort.patience)
    times = {
        name: [value for sample in samples["W4"] for value in sample.report[name]]
        for name in ("plain_ms", "json_ms", "binary_ms")
    }
    return [
        Figure(
            key=f"W4.{form}",
            value=paired_ratio(times[f"{form}_ms"], times["plain_ms"]),
            parts={
                "ours ms": spread(times[f"{form}_ms"]),
                "orjson + np.array ms": spread(times["plain_ms"]),
                "fastest x": fastest_ratio(times[f"{form}_ms"], times["plain_ms"]),
            },
            noisy=noisy(samples["W4"]),
        )
        for form in ("json", "binary")
    ]


def _child(package: Package, model: BenchModel, effort: Effort, *, mode: str = "shipped") -> Child:
    request = one_row_request(model.name)
    transform = model.folder / "transform.py"
    inputs = transform if transform.is_file() else raw_inputs(model.name, request)
    arguments: Sequence[str | Path | float] = (
        package.search_path,
        package.handler,
        _event(package, model),
        model.file,
        ",".join(model.fetched),
        inputs,
        effort.blocks,
        effort.block_s,
        mode,
    )
    return Child("warm.py", tuple(str(argument) for argument in arguments), ENVIRONMENT)


def _event(package: Package, model: BenchModel) -> Path:
    """Ours is asked for the version by its route; a peer serves the one version it was built with."""
    version = model.version if package.is_ours and model == SMALLEST else None
    return infer_event(model.name, one_row_request(model.name), version=version)


def _against_floor(key: str, samples: Sequence[Sample]) -> Figure:
    _all_answered({key: samples})
    ours, floor, own = (_medians(samples, name) for name in ("handler_us", "floor_us", "own_us"))
    return Figure(
        key=key,
        value=paired_ratio(ours, floor),
        parts={
            "handler us": spread(ours),
            "session.run us": spread(floor),
            "x of its own session's run": paired_ratio(ours, own),
            "fastest x": fastest_ratio(ours, floor),
        },
        noisy=noisy(samples),
    )


def _medians(samples: Sequence[Sample], name: str) -> list[float]:
    """The blocks of every sample, one after the other."""
    return [value for sample in samples for value in sample.report[name]]


def _all_answered(samples: Mapping[str, Sequence[Sample]]) -> None:
    for name, taken in samples.items():
        for sample in taken:
            if sample.report["status"] != 200:
                raise AssertionError(f"{name} answered {sample.report['body']}")
