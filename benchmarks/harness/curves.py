"""How something grows: lines of measured points, their plots, and whether they grow faster than their work.

A line whose unit is the cost of one piece of work (a request, a job, a row) has to stay where it is while there is
more work: what it costs at the end, against the least that it cost before, is its growth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from benchmarks.harness.line_plot import Series, line_plot
from benchmarks.harness.report import number
from benchmarks.harness.spread import Spread

GROWTH_MAX: Final = 1.5
"""Of what a piece of work costs, over the whole curve; less is drift, caches and the scheduler."""
_HEAD: Final = (
    "| what | of | from | to | at the first | least | at the last | last / least | verdict | taken |\n"
    "|---|---|---:|---:|---:|---:|---:|---:|---|---|\n"
)


@dataclass(frozen=True)
class Line:
    """Points by how much work there was. `each`: the unit is of one piece of work, which must not grow."""

    name: str
    unit: str
    points: Mapping[int, Spread]
    each: bool = False

    @property
    def growth(self) -> float:
        """What a piece costs at the end, over the least that it cost."""
        medians = [point.median for point in self.points.values()]
        return medians[-1] / min(medians)

    @property
    def verdict(self) -> str:
        """`grows`: a defect, or a reason that the page gives."""
        if not self.each:
            return ""
        return "grows" if self.growth > GROWTH_MAX else "flat"


@dataclass(frozen=True)
class Chart:
    """Lines of one unit on one plot; `key` names its file."""

    key: str
    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]

    def drawn(self, machine: Mapping[str, Any]) -> str:
        """As SVG."""
        series = [
            Series(
                name=line.name,
                points=[(count, point.median) for count, point in line.points.items()],
                spreads=[(point.p25, point.p75) for point in line.points.values()],
            )
            for line in self.lines
        ]
        return line_plot(
            series,
            title=self.title,
            x_label=self.x_label,
            y_label=f"{self.y_label}, median; bars: quartiles",
            note=f"{machine['cpu']}, {machine['cores']} cores, {machine['date']}, commit {machine['commit']}",
        )


def as_json(charts: Sequence[Chart]) -> list[dict[str, Any]]:
    """What a record keeps."""
    return [
        {
            "chart": chart.key,
            "title": chart.title,
            "lines": [
                {
                    "name": line.name,
                    "unit": line.unit,
                    "each": line.each,
                    "points": {str(count): asdict(point) for count, point in line.points.items()},
                }
                for line in chart.lines
            ],
        }
        for chart in charts
    ]


def growth_table(runs: Sequence[Mapping[str, Any]]) -> str:
    """The lines of recorded runs, judged."""
    rows = "".join(
        _row(chart["title"], _line(line), str(run["machine"]["date"]))
        for run in runs
        for chart in run["charts"]
        for line in chart["lines"]
    )
    return _HEAD + rows


def _line(entry: Mapping[str, Any]) -> Line:
    points = {int(count): Spread(**point) for count, point in entry["points"].items()}
    return Line(entry["name"], entry["unit"], points, each=entry["each"])


def _row(title: str, line: Line, date: str) -> str:
    counts = list(line.points)
    first, last = line.points[counts[0]].median, line.points[counts[-1]].median
    least = min(point.median for point in line.points.values())
    cells = [
        title,
        line.name,
        f"{counts[0]:,}",
        f"{counts[-1]:,}",
        *(f"{number(value)} {line.unit}" for value in (first, least, last)),
        f"{line.growth:.2f}",
        line.verdict,
        date,
    ]
    return f"| {' | '.join(cells)} |\n"
