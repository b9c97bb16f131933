"""What is measured of growth: of a pool, of both workers, of a batch.

Every measurement gives the charts that are drawn of it. Sizes take turns in each round, so that a machine that
becomes slower meanwhile is no growth.
"""

from __future__ import annotations

import random
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.harness import packages
from benchmarks.harness.children import Child, run_child
from benchmarks.harness.curves import Chart, Line
from benchmarks.harness.environments import Environment
from benchmarks.harness.events import infer_event, one_row_request
from benchmarks.harness.many_models import name_of, request_of, write_models
from benchmarks.harness.packages import BUILD, ENVIRONMENT, ROOT, TABULAR
from benchmarks.harness.spread import Spread, spread

MODELS = (1, 2, 5, 10, 20, 50)
MODELS_QUICK = (3,)
FEW_MIB, PLENTY_MIB = 32, 1024
"""Budgets of sessions: of the models that are measured some fit, or all of them."""
POOL_REQUESTS, POOL_REQUESTS_QUICK = 400, 20
DELIVERIES = (1, 10, 100, 1000)
DELIVERIES_QUICK = (10,)
IN_FLIGHT = (8, 16, 64, 256, 1024)
"""From one full stack on: a job that is alone waits for others as long as its model allows."""
IN_FLIGHT_QUICK = (16,)
IN_FLIGHT_EACH = 8
"""Jobs in flight for each model, as many as one stack takes: so every model has the same to do."""
JOBS, JOBS_QUICK = 2_000, 100
LINES = (1_000, 10_000, 100_000, 1_000_000)
LINES_QUICK = (1_000,)
PROCESSES = (1, 2)
LINES_ROUNDS = {1_000: 9, 10_000: 9, 100_000: 5, 1_000_000: 3}
ROUNDS = 3
_FOLDERS = f"{ROOT}:{sysconfig.get_path('purelib')}"

Taken = Mapping[str, float]
"""What one sample measured, by name."""


def measure_pool(*, quick: bool) -> list[Chart]:
    """The realtime function with many models in its package, of which a few fit into memory at a time."""
    sizes = MODELS_QUICK if quick else MODELS
    made = {size: _pool_package(size) for size in sizes}
    count = POOL_REQUESTS_QUICK if quick else POOL_REQUESTS
    points = _in_rounds(sizes, lambda size: _ask_pool(made[size], size, count), quick=quick)
    title = f"A pool's requests by its models, of 2 MB each, {FEW_MIB} MiB of sessions"
    return [
        Chart(
            "pool-growth",
            title,
            "models of the pool",
            "ms",
            (
                Line("in memory, p50", "ms", points["again_ms"], each=True),
                Line("as asked, p50", "ms", points["p50_ms"]),
                Line("as asked, p95", "ms", points["p95_ms"]),
            ),
        ),
        Chart(
            "pool-growth-memory",
            title.replace("requests", "memory"),
            "models of the pool",
            "MB resident",
            (
                Line("at the start", "MB", points["start_mb"]),
                Line("after the requests", "MB", points["end_mb"]),
            ),
        ),
    ]


def measure_queue(*, quick: bool) -> list[Chart]:
    """The queue worker by the jobs of a delivery."""
    sizes = DELIVERIES_QUICK if quick else DELIVERIES
    blocks, block_s = (1, 0.05) if quick else (3, 0.5)

    def take(size: int) -> Taken:
        arguments = (_FOLDERS, TABULAR.name, size, blocks, block_s)
        report = _child("jobs.py", arguments)
        memory = {"resident_mb": report.pop("resident_mb")}
        return {key: median(values) for key, values in report.items()} | memory

    points = _in_rounds(sizes, take, quick=quick)
    title = f"The queue worker by the size of a delivery, {TABULAR.name} {TABULAR.version}"
    names = {
        "delivery_us": "with its jobs",
        "worker_us": "bytes to bytes",
        "floor_us": "session.run",
    }
    lines = [Line(name, "us", points[key], each=True) for key, name in names.items()]
    memory = Line("resident", "MB", points["resident_mb"])
    x_label = "jobs of a delivery"
    return [
        Chart("queue-growth", title, x_label, "us of CPU a job", lines),
        Chart("queue-growth-memory", title, x_label, "MB resident", [memory]),
    ]


def measure_models(*, quick: bool) -> list[Chart]:
    """The long-lived worker by its models: where all fit into memory, and where a few do."""
    sizes = MODELS_QUICK if quick else MODELS
    repository = BUILD / "growing" / "models"
    write_models(repository, max(sizes))
    jobs = JOBS_QUICK if quick else JOBS
    budgets = {"all fit": PLENTY_MIB, f"{FEW_MIB} MiB": FEW_MIB}

    def take(mib: int) -> Callable[[int], Taken]:
        return lambda size: _worker(repository, size, size * IN_FLIGHT_EACH, jobs, mib)

    found = {name: _in_rounds(sizes, take(mib), quick=quick) for name, mib in budgets.items()}
    title = "The long-lived worker by its models, of 2 MB each"
    charts = (("job_us", "us a job", "us"), ("resident_mb", "MB resident", "MB"))
    return [
        Chart(
            "models-growth" if key == "job_us" else "models-growth-memory",
            title,
            "models of the pool",
            label,
            [
                Line(name, unit, points[key], each=key == "job_us" and name == "all fit")
                for name, points in found.items()
            ],
        )
        for key, label, unit in charts
    ]


def measure_concurrency(*, quick: bool) -> list[Chart]:
    """The long-lived worker by the jobs in flight, of one model."""
    sizes = IN_FLIGHT_QUICK if quick else IN_FLIGHT
    repository = BUILD / "one" / "models"
    write_models(repository, 1)

    def take(size: int) -> Taken:
        return _worker(repository, 1, size, JOBS_QUICK if quick else 2 * JOBS, PLENTY_MIB)

    points = _in_rounds(sizes, take, quick=quick)
    title = "The long-lived worker by jobs in flight, one model"
    x_label = "jobs in flight"
    return [
        Chart(
            "concurrency-growth",
            title,
            x_label,
            "us a job",
            (
                Line("by the clock", "us", points["job_us"], each=True),
                Line("CPU", "us", points["cpu_us"], each=True),
            ),
        ),
        Chart(
            "concurrency-growth-latency",
            title,
            x_label,
            "ms, p50",
            [Line("submitted to ended", "ms", points["latency_ms"])],
        ),
    ]


def measure_batch(*, quick: bool) -> list[Chart]:
    """A batch by its lines, with one process and with two; each has its share of the lines and its own store."""
    one_row_request(TABULAR.name)  # raises where the model was not fetched
    sizes = LINES_QUICK if quick else LINES

    def line(processes: int) -> Line:
        points = {size: _batch(size, processes, quick=quick) for size in sizes}
        return Line(f"{processes} process{'es' if processes > 1 else ''}", "us", points, each=True)

    return [
        Chart(
            "batch-growth",
            f"A row of a batch, {TABULAR.name} {TABULAR.version}, JSON lines of one row",
            "lines of the batch",
            "us a row",
            [line(processes) for processes in (PROCESSES[-1:] if quick else PROCESSES)],
        )
    ]


MEASUREMENTS: Mapping[str, Callable[..., list[Chart]]] = {
    "pool": measure_pool,
    "queue": measure_queue,
    "models": measure_models,
    "concurrency": measure_concurrency,
    "batch": measure_batch,
}


def _in_rounds(
    sizes: Sequence[int], take: Callable[[int], Taken], *, quick: bool
) -> dict[str, dict[int, Spread]]:
    """By name, then by size: each size once a round."""
    taken: dict[int, list[Taken]] = {size: [] for size in sizes}
    for _ in range(1 if quick else ROUNDS):
        for size in sizes:
            taken[size].append(take(size))
            told = ", ".join(f"{name} {value:.3g}" for name, value in taken[size][-1].items())
            print(f"{size:>9,}: {told}")  # noqa: T201  progress
    names = taken[sizes[0]][0]
    return {
        name: {size: spread([one[name] for one in taken[size]]) for size in sizes} for name in names
    }


def _pool_package(size: int) -> packages.Package:
    folder = BUILD / f"pool-{size}" / "models"
    names = write_models(folder, size)
    return packages.our_package(*names, repository=folder)


def _ask_pool(package: packages.Package, size: int, count: int) -> Taken:
    """Requests of which the first model gets most, the n-th an n-th as many.

    Each is asked three times running: as it comes, and the last time in memory and warm.
    """
    events = [infer_event(name_of(n), request_of(n)).read_bytes() for n in range(size)]
    weights = [1 / (place + 1) for place in range(size)]
    order = random.Random(0).choices(range(size), weights, k=count)  # noqa: S311  to be had again
    environment = Environment(package, SESSION_BUDGET_MIB=str(FEW_MIB))
    try:
        start_mb = environment.resident_mb()
        first_ms, again_ms = [], []
        for number in order:
            first_ms.append(_timed_ms(environment, events[number]))
            _timed_ms(environment, events[number])
            again_ms.append(_timed_ms(environment, events[number]))
        end_mb = environment.resident_mb()
    finally:
        environment.end()
    first_ms.sort()
    return {
        "again_ms": median(again_ms),
        "p50_ms": median(first_ms),
        "p95_ms": first_ms[len(first_ms) * 95 // 100],
        "start_mb": start_mb,
        "end_mb": end_mb,
    }


def _timed_ms(environment: Environment, event: bytes) -> float:
    began_s = time.perf_counter()
    environment.send(event, 0.0)
    assert environment.status() == 200
    return (time.perf_counter() - began_s) * 1000


def _worker(repository: Path, models: int, in_flight: int, jobs: int, mib: int) -> Taken:
    arguments = (_FOLDERS, repository, models, in_flight, jobs, mib)
    report: dict[str, float] = _child("growing_worker.py", arguments)
    return report


def _batch(lines: int, processes: int, *, quick: bool) -> Spread:
    """Microseconds a row, by the clock, from the first beginning to the last end."""
    arguments = (_FOLDERS, TABULAR.name, lines, 1, processes)
    rounds = 1 if quick else LINES_ROUNDS[lines]
    rates = [_child("batch.py", arguments)["rows_per_s"][0] for _ in range(rounds)]
    found = spread([1e6 / rate for rate in rates])
    print(f"{lines:>9,} lines, {processes} processes: {found.median:.3g} us a row")  # noqa: T201  progress
    return found


def _child(script: str, arguments: Sequence[object]) -> dict[str, float]:
    child = Child(script, tuple(str(argument) for argument in arguments), ENVIRONMENT)
    report: dict[str, float] = run_child(child).report
    return report
