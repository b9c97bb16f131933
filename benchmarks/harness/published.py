"""The figures in docs/performance.md, made from the records in `benchmarks/results`.

Of each bar the newest record that has it is shown, judged by the bar as it is now. A run that adds a
record writes the page's tables anew; a test compares them, so that the page cannot go stale.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.harness.bars import BARS, Bar
from benchmarks.harness.figure import Figure
from benchmarks.harness.packages import ROOT
from benchmarks.harness.report import number
from benchmarks.harness.spread import Spread

PAGE: Final = ROOT / "docs" / "performance.md"
RECORDS: Final = ROOT / "benchmarks" / "results"
BEGIN: Final = "<!-- figures: begin, written by `python -m benchmarks --table` -->"
END: Final = "<!-- figures: end -->"
_WORDS: Final = {"stretch": "met, stretch too", "met": "met", "missed": "**missed**"}
_HEAD: Final = "| bar | figure | measured | p25-p75 | must | stretch | verdict | run |\n"


@dataclass(frozen=True)
class Record:
    """One run as it was written down; `letter` is how the table names it."""

    letter: str
    machine: dict[str, Any]
    command: str | None
    """None: made before commands were recorded."""
    figures: dict[str, Figure]


def refresh(page: Path = PAGE, records: Path = RECORDS) -> bool:
    """Write the tables of `page` anew; whether that changed it."""
    before = page.read_text()
    after = with_tables(before, records)
    if after != before:
        page.write_text(after)
    return after != before


def with_tables(text: str, records: Path = RECORDS) -> str:
    """`text` with what stands between its two marks made anew. Raises ValueError without marks."""
    head, begin, rest = text.partition(BEGIN)
    _old, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no lines {BEGIN!r} and {END!r}")
    return f"{head}{BEGIN}\n\n{_tables(_newest(records))}\n{END}{tail}"


def _newest(folder: Path) -> dict[str, Record]:
    """Bar -> the newest record that has it."""
    runs = sorted(
        (json.loads(path.read_text()) for path in folder.glob("*.json")),
        key=lambda run: str(run["machine"]["date"]),
        reverse=True,
    )
    known = {bar.key for bar in BARS}
    newest: dict[str, Record] = {}
    for run in runs:
        figures = {
            entry["key"]: _figure(entry) for entry in run["figures"] if entry["key"] in known
        }
        letter = chr(ord("a") + len({record.letter for record in newest.values()}))
        record = Record(letter, run["machine"], run.get("command"), figures)
        newest |= {key: record for key in figures if key not in newest}
    return newest


def _figure(entry: dict[str, Any]) -> Figure:
    return Figure(key=entry["key"], value=Spread(**entry["value"]), noisy=entry["noisy"])


def _tables(newest: dict[str, Record]) -> str:
    rows = "".join(_row(bar, newest.get(bar.key)) for bar in BARS)
    used = {record.letter: record for record in newest.values()}
    runs = "".join(f"{_run(used[letter])}\n" for letter in sorted(used))
    return f"{_HEAD}|---|---|---:|---:|---:|---:|---|---|\n{rows}\n{runs}"


def _row(bar: Bar, record: Record | None) -> str:
    limits = [f"{bar.must:g}", "" if bar.stretch is None else f"{bar.stretch:g}"]
    if record is None:
        cells = [bar.key, bar.what, "-", "-", *limits, "not recorded yet", ""]
    else:
        figure = record.figures[bar.key]
        value = figure.value
        verdict = _WORDS[figure.verdict] + (", noisy" if figure.noisy else "")
        cells = [
            bar.key,
            bar.what,
            f"{number(value.median)} {bar.unit}",
            f"{number(value.p25)}-{number(value.p75)}",
            *limits,
            verdict,
            record.letter,
        ]
    return f"| {' | '.join(cells)} |\n"


def _run(record: Record) -> str:
    facts = record.machine
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    command = f"`{record.command}`" if record.command else "its command was not recorded"
    return (
        f"- **{record.letter}**: {command}, {facts['date']}, commit {facts['commit']}; "
        f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gib']} GiB, {facts['system']}, "
        f"Python {facts['python']}; {versions}"
    )
