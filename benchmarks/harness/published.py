"""The tables in docs/performance.md, made from the records in `benchmarks/results`: figures, load, growth.

Of each bar the newest record that has it is shown, judged by the bar as it is now; of load and of each growth the
newest record. A run that adds a record writes the page's tables anew; a test compares them, so that the page
cannot go stale.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.harness.bars import BARS, Bar
from benchmarks.harness.curves import growth_table
from benchmarks.harness.figure import Figure
from benchmarks.harness.packages import ROOT
from benchmarks.harness.report import number
from benchmarks.harness.spread import Spread

PAGE: Final = ROOT / "docs" / "performance.md"
RECORDS: Final = ROOT / "benchmarks" / "results"
LOADS: Final = RECORDS / "load"
_WORDS: Final = {"stretch": "met, stretch too", "met": "met", "missed": "**missed**"}
_HEAD: Final = (
    "| bar | figure | measured | p25-p75 | must | stretch | verdict | ours; floor or peer | run |\n"
)
_RATIO: Final = "x"
"""A word of the names of parts that are ratios."""
_LOAD_HEAD: Final = (
    "| on | arrivals/s | s | requests | p50 ms | p95 ms | p99 ms | errors | refused | lost "
    "| cleared after s | late at most ms |\n"
)


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
    """`text` with what stands between each pair of marks made anew. Raises ValueError where one is missing."""
    for name, table in SECTIONS.items():
        begin, end = marks(name)
        head, found_begin, rest = text.partition(begin)
        _old, found_end, tail = rest.partition(end)
        if not (found_begin and found_end):
            raise ValueError(f"the page has no lines {begin!r} and {end!r}")
        text = f"{head}{begin}\n\n{table(records)}\n{end}{tail}"
    return text


def marks(name: str) -> tuple[str, str]:
    """The lines between which a table stands."""
    begin = f"<!-- {name}: begin, written by `python -m benchmarks --table` -->"
    return begin, f"<!-- {name}: end -->"


def load_table(run: Mapping[str, Any]) -> str:
    """What became of the requests of a run of `benchmarks.load`."""
    rows = "".join(_load_row(outcome) for outcome in run["outcomes"])
    facts = run["machine"]
    return (
        f"{run['model']}; {run['environments']} environments of the function, {run['workers']} worker; "
        f"{facts['cpu']}, {facts['cores']} cores, {facts['date']}, commit {facts['commit']}\n\n"
        f"{_LOAD_HEAD}|---|{'---:|' * 11}\n{rows}"
    )


def _load_row(outcome: Mapping[str, Any]) -> str:
    cells = [
        outcome["what"],
        *(f"{outcome[key]:g}" for key in ("rate", "seconds", "requests")),
        *(f"{outcome[f'p{percent}_ms']:.1f}" for percent in (50, 95, 99)),
        *(f"{outcome[key]}" for key in ("errors", "refused")),
        f"{outcome['lost']}" + (f" ({outcome['twice']} twice)" if outcome["twice"] else ""),
        f"{outcome['cleared_s']:.1f}",
        f"{outcome['late_ms']:.1f}",
    ]
    return f"| {' | '.join(cells)} |\n"


def _loads(records: Path) -> str:
    runs = _runs(records / LOADS.name)
    return load_table(runs[0]) if runs else "not recorded yet\n"


def _growths(records: Path) -> str:
    runs = [found[0] for folder in sorted(records.glob("*-growth")) if (found := _runs(folder))]
    if not runs:
        return "not recorded yet\n"
    charts = [chart for run in runs for chart in run["charts"]]
    plots = "".join(f"\n![{chart['title']}](images/{chart['chart']}.svg)\n" for chart in charts)
    return growth_table(runs) + plots


def _runs(folder: Path) -> list[dict[str, Any]]:
    """Newest first."""
    runs = (json.loads(path.read_text()) for path in folder.glob("*.json"))
    return sorted(runs, key=lambda run: str(run["machine"]["date"]), reverse=True)


def newest(folder: Path) -> dict[str, Record]:
    """Bar -> the newest record that has it."""
    runs = _runs(folder)
    known = {bar.key for bar in BARS}
    found: dict[str, Record] = {}
    for run in runs:
        figures = {
            entry["key"]: _figure(entry) for entry in run["figures"] if entry["key"] in known
        }
        letter = chr(ord("a") + len({record.letter for record in found.values()}))
        record = Record(letter, run["machine"], run.get("command"), figures)
        found |= {key: record for key in figures if key not in found}
    return found


def _figure(entry: dict[str, Any]) -> Figure:
    parts = {name: Spread(**part) for name, part in entry.get("parts", {}).items()}
    value = Spread(**entry["value"])
    return Figure(key=entry["key"], value=value, parts=parts, noisy=entry["noisy"])


def _tables(records: Path) -> str:
    found = newest(records)
    rows = "".join(_row(bar, found.get(bar.key)) for bar in BARS)
    used = {record.letter: record for record in found.values()}
    runs = "".join(f"{_run(used[letter])}\n" for letter in sorted(used))
    return f"{_HEAD}|---|---|---:|---:|---:|---:|---|---|---|\n{rows}\n{runs}"


def _row(bar: Bar, record: Record | None) -> str:
    limits = [f"{bar.must:g}", "" if bar.stretch is None else f"{bar.stretch:g}"]
    if record is None:
        cells = [bar.key, bar.what, "-", "-", *limits, "not recorded yet", "", ""]
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
            _made_of(figure),
            record.letter,
        ]
    return f"| {' | '.join(cells)} |\n"


def _made_of(figure: Figure) -> str:
    """The medians of what the ratio is between, and of what stands beside it."""
    parts = {name: part for name, part in figure.parts.items() if _RATIO not in name.split()}
    return "; ".join(f"{name} {number(part.median)}" for name, part in parts.items())


def _run(record: Record) -> str:
    facts = record.machine
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    command = f"`{record.command}`" if record.command else "its command was not recorded"
    return (
        f"- **{record.letter}**: {command}, {facts['date']}, commit {facts['commit']}; "
        f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gib']} GiB, {facts['system']}, "
        f"Python {facts['python']}; {versions}"
    )


SECTIONS: Final[Mapping[str, Callable[[Path], str]]] = {
    "figures": _tables,
    "load": _loads,
    "growth": _growths,
}
