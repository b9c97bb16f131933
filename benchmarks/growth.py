"""How a batch's rows a second grow with its lines and with the processes that run it, as JSON and a plot.

    python -m benchmarks.growth            # 1 thousand to 1 million lines, one process and two
    python -m benchmarks.growth --quick    # does it still run

Each process has its share of the lines and a store of its own in memory: what is shown is what the
code and the cores allow, not what DynamoDB and S3 do. What it does not show: docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.harness import machine
from benchmarks.harness.children import Child, run_child
from benchmarks.harness.events import one_row_request
from benchmarks.harness.line_plot import Series, line_plot
from benchmarks.harness.packages import ENVIRONMENT, ROOT, TABULAR
from benchmarks.harness.spread import Spread, spread

LINES = (1_000, 10_000, 100_000, 1_000_000)
LINES_QUICK = (1_000, 10_000)
PROCESSES = (1, 2)
ROUNDS = {1_000: 9, 10_000: 9, 100_000: 5, 1_000_000: 3}
OUTPUT = ROOT / "benchmarks" / "results" / "batch-growth"
PLOT = ROOT / "docs" / "images" / "batch-growth.svg"

Rates = Mapping[int, Mapping[int, Spread]]
"""Rows a second by the number of processes, then of lines."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write, draw."""
    options = _parser().parse_args(arguments)
    one_row_request(TABULAR.name)  # raises where the model was not fetched
    lines = LINES_QUICK if options.quick else LINES
    rates = {
        processes: {count: _measure(count, processes, quick=options.quick) for count in lines}
        for processes in PROCESSES
    }
    facts = machine.describe()
    name = options.name or datetime.now(UTC).strftime("%Y-%m-%d")
    options.output.mkdir(parents=True, exist_ok=True)
    data = options.output / f"{name}.json"
    data.write_text(json.dumps({"machine": facts, "rows_per_s": _as_json(rates)}, indent=1) + "\n")
    options.plot.write_text(_plot(rates, facts))
    print(f"wrote {data}\nwrote {options.plot}")  # noqa: T201  a command's answer


def _measure(lines: int, processes: int, *, quick: bool) -> Spread:
    rounds = 1 if quick else ROUNDS[lines]
    folders = f"{ROOT}:{sysconfig.get_path('purelib')}"
    arguments = (folders, TABULAR.name, lines, 1, processes)
    child = Child("batch.py", tuple(str(item) for item in arguments), ENVIRONMENT)
    found = spread([run_child(child).report["rows_per_s"][0] for _ in range(rounds)])
    print(f"{lines:>9,} lines, {processes} processes: {found.median:,.0f} rows/s")  # noqa: T201  progress
    return found


def _as_json(rates: Rates) -> dict[str, object]:
    return {
        str(processes): {str(count): asdict(value) for count, value in found.items()}
        for processes, found in rates.items()
    }


def _plot(rates: Rates, facts: Mapping[str, object]) -> str:
    series = [
        Series(
            name=f"{processes} process{'es' if processes > 1 else ''}",
            points=[(count, value.median) for count, value in found.items()],
            spreads=[(value.p25, value.p75) for value in found.values()],
        )
        for processes, found in rates.items()
    ]
    return line_plot(
        series,
        title=f"Rows a second of a batch, {TABULAR.name} {TABULAR.version}, JSON lines of one row",
        x_label="lines of the batch",
        y_label="rows/s, median; bars: quartiles",
        note=f"{facts['cpu']}, {facts['cores']} cores, {facts['date']}, commit {facts['commit']}",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of the two small sizes")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--plot", type=Path, default=PLOT, help="where the plot goes")
    parser.add_argument("--name", default="", help="of the file written; default the date")
    return parser


if __name__ == "__main__":
    main()
