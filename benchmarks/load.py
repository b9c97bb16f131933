"""Load without any emulator: an arrival rate, and then ten times that rate, on the handlers and on the worker.

    make load                                         # the embedding model, two environments, one worker
    python -m benchmarks.load --rate 20 --seconds 30 --environments 4 --model breast-cancer
    python -m benchmarks.load --record                # writes it down, for docs/performance.md

Each environment is a process that runs the realtime function from its package and answers one request at a
time, as on Lambda; a request that finds none free is refused, as Lambda refuses at its concurrency limit.
Jobs are dropped on a queue of a private RabbitMQ, where it is installed, and worked off by processes of the
long-lived worker; nobody refuses them, and so they wait. Ends with 1 where anything was lost or came twice.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.harness import arriving_jobs, machine, packages, published
from benchmarks.harness.arrivals import Outcome
from benchmarks.harness.environments import Environment, hold
from benchmarks.harness.events import infer_event, one_row_request
from cli.testing.rabbitmq import is_installed

TIMES = (1, 10)
SIDES = ("realtime", "jobs")


def main(arguments: Sequence[str] | None = None) -> int:
    """Hold both rates on both sides, and say what became of every request."""
    options = _parser().parse_args(arguments)
    rates = [options.rate * times for times in TIMES]
    outcomes: list[Outcome] = []
    if "realtime" in options.only:
        outcomes += _on_handlers(options, rates)
    if "jobs" in options.only and is_installed():
        outcomes += _on_workers(options, rates)
    elif "jobs" in options.only:
        print("no jobs: RabbitMQ is not installed (apt-get install rabbitmq-server)")  # noqa: T201  as below
    run = {
        "machine": machine.describe(),
        "model": options.model,
        "environments": options.environments,
        "workers": options.workers,
        "outcomes": [outcome.as_json() for outcome in outcomes],
    }
    print(published.load_table(run))  # noqa: T201  a command's answer
    if options.record:
        _record(run, options)
    return int(any(outcome.lost or outcome.twice for outcome in outcomes))


def _on_handlers(options: argparse.Namespace, rates: Sequence[float]) -> list[Outcome]:
    outcomes = []
    try:
        package = packages.our_package(options.model)
        event = infer_event(options.model, one_row_request(options.model)).read_bytes()
        for rate in rates:
            environments = [Environment(package) for _ in range(options.environments)]
            try:
                outcomes.append(hold(environments, event, rate=rate, seconds=options.seconds))
            finally:
                for environment in environments:
                    environment.end()
    finally:
        packages.remove_all()
    return outcomes


def _on_workers(options: argparse.Namespace, rates: Sequence[float]) -> list[Outcome]:
    with (
        arriving_jobs.private_broker() as url,
        arriving_jobs.working(url, options.model, processes=options.workers) as group,
    ):
        return [group.hold(options.model, rate=rate, seconds=options.seconds) for rate in rates]


def _record(run: dict[str, object], options: argparse.Namespace) -> None:
    folder: Path = options.output
    folder.mkdir(parents=True, exist_ok=True)
    name = options.name or datetime.now(UTC).strftime("%Y-%m-%d")
    (folder / f"{name}.json").write_text(json.dumps(run, indent=1) + "\n")
    if folder == published.LOADS:
        published.refresh()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--model", default=packages.EMBEDDING.name)
    parser.add_argument("--rate", type=float, default=50.0, help="arrivals a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each rate")
    parser.add_argument("--environments", type=int, default=2, help="of the realtime function")
    parser.add_argument("--workers", type=int, default=1, help="processes of the worker of jobs")
    parser.add_argument("--only", choices=SIDES, nargs="+", default=list(SIDES))
    parser.add_argument("--record", action="store_true", help="write it down, and into the page")
    parser.add_argument("--output", type=Path, default=published.LOADS)
    parser.add_argument("--name", default="", help="of the record; default the date")
    return parser


if __name__ == "__main__":
    sys.exit(main())
