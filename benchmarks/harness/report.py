"""The report in its three forms: a table in the terminal, a Markdown file and a JSON file.

All three hold machine, date, versions, spread, bar and verdict; JSON holds every part with its
quartiles.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.harness.figure import Figure, Skipped
from benchmarks.harness.spread import Spread

_COLUMNS = ("bar", "what", "measured", "p25-p75", "must", "stretch", "verdict", "of what")
_COLOURS = {"stretch": "green", "met": "green", "missed": "red"}


def show(figures: Sequence[Figure], skipped: Sequence[Skipped], console: Console) -> None:
    """Print the table."""
    table = Table(title="Laneway benchmarks", title_justify="left", show_lines=True)
    for column in _COLUMNS:
        table.add_column(column, no_wrap=column in ("bar", "measured", "p25-p75", "verdict"))
    for figure in figures:
        cells = _cells(figure)
        cells[6] = f"[{_COLOURS[figure.verdict]}]{cells[6]}[/]"
        table.add_row(*cells)
    for item in skipped:
        table.add_row(item.key, "", "-", "", "", "", "skipped", item.reason)
    console.print(table)


def write(
    folder: Path,
    name: str,
    machine: Mapping[str, object],
    figures: Sequence[Figure],
    skipped: Sequence[Skipped],
    *,
    command: str,
) -> list[Path]:
    """Write `<name>.md` and `<name>.json` into `folder`; `command` is what was called."""
    folder.mkdir(parents=True, exist_ok=True)
    markdown, data = folder / f"{name}.md", folder / f"{name}.json"
    markdown.write_text(_markdown(machine, figures, skipped))
    content = {
        "machine": machine,
        "command": command,
        "figures": [_as_json(figure) for figure in figures],
        "skipped": [asdict(item) for item in skipped],
    }
    data.write_text(json.dumps(content, indent=1) + "\n")
    return [markdown, data]


def _markdown(
    machine: Mapping[str, object], figures: Sequence[Figure], skipped: Sequence[Skipped]
) -> str:
    versions = machine["versions"]
    assert isinstance(versions, dict)
    facts = [f"{name} {value}" for name, value in versions.items()]
    lines = [
        f"# Benchmarks, {machine['date']}",
        "",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB,",
        f"{machine['system']}, Python {machine['python']}, commit {machine['commit']},",
        ", ".join(facts) + ".",
        "",
        "What each figure is, and what it does not show: docs/performance.md.",
        "",
        "| " + " | ".join(_COLUMNS) + " |",
        "|" + "---|" * len(_COLUMNS),
    ]
    lines += ["| " + " | ".join(_cells(figure)) + " |" for figure in figures]
    lines += [f"| {item.key} | skipped: {item.reason} | | | | | | |" for item in skipped]
    return "\n".join(lines) + "\n"


def _cells(figure: Figure) -> list[str]:
    bar, value = figure.bar, figure.value
    parts = [f"{name} {number(part.median)}" for name, part in figure.parts.items()]
    notes = [*parts, *([figure.note] if figure.note else [])]
    return [
        bar.key,
        bar.what,
        f"{number(value.median)} {bar.unit}",
        f"{number(value.p25)}-{number(value.p75)}",
        f"<= {bar.must:g}",
        "" if bar.stretch is None else f"<= {bar.stretch:g}",
        f"{figure.verdict}, noisy" if figure.noisy else figure.verdict,
        "; ".join(notes),
    ]


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def _as_json(figure: Figure) -> dict[str, object]:
    return {
        "key": figure.key,
        "what": figure.bar.what,
        "unit": figure.bar.unit,
        "must": figure.bar.must,
        "stretch": figure.bar.stretch,
        "value": asdict(figure.value),
        "verdict": figure.verdict,
        "noisy": figure.noisy,
        "parts": {name: _spread(part) for name, part in figure.parts.items()},
        "note": figure.note,
    }


def _spread(value: Spread) -> dict[str, object]:
    return asdict(value)
