"""How latency, cost and memory grow with their work, as JSON and as plots.

    python -m benchmarks.growth                        # everything
    python -m benchmarks.growth --only pool models     # some of it
    python -m benchmarks.growth --quick                # does it still run

    pool         the realtime function by the models of its pool, 1 to 50, of which a few fit into memory
    queue        the queue worker by the jobs of a delivery
    models       the long-lived worker by its models, all of which fit into memory, or a few
    concurrency  the long-lived worker by the jobs in flight
    batch        a batch by its lines, with one process and with two

Tables, payloads and queues are in memory: what is shown is what the code and the cores allow, not what AWS
does. What it does not show: docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.harness import growing, machine, published
from benchmarks.harness.curves import as_json, growth_table
from benchmarks.harness.packages import ROOT, remove_all

IMAGES = ROOT / "docs" / "images"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write, draw, and say what grows."""
    options = _parser().parse_args(arguments)
    name = options.name or datetime.now(UTC).strftime("%Y-%m-%d")
    try:
        for asked in options.only:
            _measure(asked, name, options)
    finally:
        remove_all()
    if options.output == published.RECORDS:
        published.refresh()


def _measure(asked: str, name: str, options: argparse.Namespace) -> None:
    facts = machine.describe()
    charts = growing.MEASUREMENTS[asked](quick=options.quick)
    run = {"machine": facts, "charts": as_json(charts)}
    folder: Path = options.output / f"{asked}-growth"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(run, indent=1) + "\n")
    options.images.mkdir(parents=True, exist_ok=True)
    for chart in charts:
        (options.images / f"{chart.key}.svg").write_text(chart.drawn(facts))
    print(growth_table([run]))  # noqa: T201  a command's answer


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = list(growing.MEASUREMENTS)
    parser.add_argument("--only", nargs="+", choices=known, default=known)
    parser.add_argument("--quick", action="store_true", help="once, of small sizes")
    parser.add_argument("--output", type=Path, default=published.RECORDS, help="of the records")
    parser.add_argument("--images", type=Path, default=IMAGES, help="where the plots go")
    parser.add_argument("--name", default="", help="of the records; default the date")
    return parser


if __name__ == "__main__":
    main()
