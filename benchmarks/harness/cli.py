"""The command line of the benchmarks: which bars, how carefully, and where the report goes."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from benchmarks.harness import (
    batches,
    brokered,
    cold,
    interruption,
    jobs,
    layout,
    machine,
    published,
    report,
    session,
    warm,
    worker,
)
from benchmarks.harness.bars import GROUPS
from benchmarks.harness.children import Patience
from benchmarks.harness.figure import Effort, Figure, Skipped
from benchmarks.harness.packages import ROOT, MissingModelError, remove_all

# One entry per set of bars that share their children.
MEASUREMENTS: tuple[tuple[tuple[str, ...], Callable[[Effort], list[Figure]]], ...] = (
    (("C1", "C2", "C6"), cold.measure_tabular),
    (("C3",), cold.measure_embedding),
    (("C4",), session.measure_large),
    (("C5",), layout.measure_size),
    (("W1",), warm.measure_silent),
    (("W2",), warm.measure_shipped),
    (("W3",), warm.measure_embedding),
    (("W4",), warm.measure_codec),
    (("Q1",), jobs.measure_stacking),
    (("Q2",), jobs.measure_machinery),
    (("B1",), batches.measure_batches),
    (("G1",), worker.measure_worker),
    (("G1",), brokered.measure_rows),
    (("G2",), brokered.measure_serving),
    (("Q3",), brokered.measure_jobs),
    (("D1",), interruption.measure_interruption),
)

QUICK = Effort(rounds=1, blocks=2, block_s=0.05, patience=Patience(attempts=1, left_s=0))
"""Whether everything still runs: a smoke run takes what it gets."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, show and write. Returns 1 with `--check` when a bar of the list is missed, else 0."""
    options = _parser().parse_args(arguments)
    console = Console(width=None if Console().is_terminal else 200)
    if options.table:
        published.refresh()
        return 0
    options.output = options.output or (ROOT / "build" if options.quick else published.RECORDS)
    name = options.name or datetime.now(UTC).strftime("%Y-%m-%d")
    given = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(["python", "-m", "benchmarks", *given])
    facts = machine.describe()
    figures: list[Figure] = []
    skipped: list[Skipped] = []
    written: list[Path] = []
    end_on_signals()
    try:
        for found, missing in measured(groups_of(options.only), _effort(options), console):
            figures += found
            skipped += missing
            # At once, so that a run that is ended midway keeps what it has measured.
            written = report.write(options.output, name, facts, figures, skipped, command=command)
    finally:
        remove_all()
    report.show(figures, skipped, console)
    if options.output == published.RECORDS and published.refresh():
        written.append(published.PAGE)
    for path in written:
        console.print(f"wrote {path}")
    missed = [figure.key for figure in figures if figure.verdict == "missed"]
    judged = [key for key in missed if key.split(".")[0] in groups_of(options.check or "-")]
    if judged:
        console.print(f"[red]missed: {', '.join(judged)}[/]")
    return 1 if judged else 0


def end_on_signals() -> None:
    """End as Ctrl-C does, so that what was started and written meanwhile is cleared away."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))


def measured(
    wanted: Sequence[str], effort: Effort, console: Console
) -> Iterator[tuple[list[Figure], list[Skipped]]]:
    """What each measurement gives, as soon as it does."""
    for groups, measure in MEASUREMENTS:
        if not set(groups) & set(wanted):
            continue
        console.print(f"measuring {', '.join(groups)} ...", style="dim")
        try:
            yield [item for item in measure(effort) if item.bar.group in wanted], []
        except (MissingModelError, brokered.NoBrokerError) as error:
            yield [], [Skipped(group, str(error)) for group in groups if group in wanted]


def _effort(options: argparse.Namespace) -> Effort:
    if options.quick:
        return QUICK
    patience = cold.default_patience()
    return Effort(rounds=options.rounds, blocks=8, block_s=0.25, patience=patience)


def groups_of(text: str) -> tuple[str, ...]:
    """`C1,W4` as groups; every group for an empty text. Raises SystemExit on an unknown one."""
    chosen = tuple(
        part.strip().upper() for part in text.split(",") if part.strip() not in ("", "-")
    )
    unknown = sorted(set(chosen) - set(GROUPS))
    if unknown:
        raise SystemExit(f"no bar {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    return chosen if text else GROUPS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of each: does it still run")
    parser.add_argument("--only", default="", metavar="C1,W4", help="bars to measure; default all")
    parser.add_argument("--rounds", type=int, default=9, help="fresh interpreters per variant (9)")
    parser.add_argument(
        "--check", default="", metavar="C5,C6", help="end with 1 when one of these bars is missed"
    )
    parser.add_argument(
        "--table", action="store_true", help="measure nothing; write the page's tables anew"
    )
    parser.add_argument(
        "--output", type=Path, help="default benchmarks/results; with --quick build"
    )
    parser.add_argument("--name", default="", help="of the files written; default the date")
    return parser
