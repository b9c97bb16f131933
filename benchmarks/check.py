"""Compares the ratios of a short run with those recorded, and ends with 1 where one was lost.

    make bench-check
    python -m benchmarks.check --only W1,W3       # some of them
    python -m benchmarks.check --only G1,G2,Q3    # what needs RabbitMQ, and minutes

Without --only: the bars that need no broker. How far a figure may be from its record, and what counts as lost,
stands in `benchmarks/harness/kept.py`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.harness import kept, published
from benchmarks.harness.children import Patience
from benchmarks.harness.cli import QUICK, end_on_signals, groups_of, measured
from benchmarks.harness.figure import Effort, Figure
from benchmarks.harness.packages import remove_all

SHORT_EFFORT = Effort(rounds=3, blocks=4, block_s=0.2, patience=Patience(attempts=3, left_s=60))
SHORT = ("C1", "C2", "C3", "C4", "C5", "C6", "W1", "W2", "W3", "W4", "Q1", "B1")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, compare, tell."""
    options = _parser().parse_args(arguments)
    groups = groups_of(options.only) if options.only else SHORT
    console = Console(width=200, stderr=True)
    effort = QUICK if options.quick else SHORT_EFFORT
    attempts = 2 if options.quick else kept.ATTEMPTS

    def measure(wanted: Sequence[str]) -> Sequence[Figure]:
        found: list[Figure] = []
        for figures, skipped in measured(wanted, effort, console):
            found += figures
            for item in skipped:
                console.print(f"{item.key}: {item.reason}")
        return found

    end_on_signals()
    records = {
        key: record.figures[key].value for key, record in published.newest(options.records).items()
    }
    try:
        judged = kept.compare(groups, records, measure, attempts=attempts)
    finally:
        remove_all()
    print(kept.table(judged))  # noqa: T201  a command's answer
    lost = kept.lost(judged)
    if lost:
        print(f"lost: {', '.join(lost)}")  # noqa: T201  as above
    return int(bool(lost) or not judged)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default="", metavar="W1,Q1", help="bars to compare")
    parser.add_argument("--quick", action="store_true", help="once: does it still run")
    parser.add_argument("--records", type=Path, default=published.RECORDS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
