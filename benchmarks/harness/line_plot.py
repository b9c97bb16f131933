"""A small line plot as SVG: a logarithmic x axis with the points' places, a linear y axis from zero, names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, log10

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 90, 150, 50, 80
NAME_HEIGHT = 16
COLOURS = ("#1f6feb", "#d1580b", "#3d8c40", "#8250df")
STYLE = "font-family='system-ui,sans-serif' font-size='13' fill='#24292f'"


@dataclass(frozen=True)
class Series:
    """A line: points `(x, y)`, and for each the ends of its bar."""

    name: str
    points: Sequence[tuple[float, float]]
    spreads: Sequence[tuple[float, float]]


def line_plot(
    series: Sequence[Series], *, title: str, x_label: str, y_label: str, note: str
) -> str:
    """The whole document."""
    axes = _Axes(series)
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' role='img' {STYLE}>",
        f"<title>{escape(title)}</title>",
        f"<rect width='{WIDTH}' height='{HEIGHT}' fill='#ffffff'/>",
        _text(LEFT, TOP - 22, title, weight="600"),
        *axes.drawn(),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 38, x_label, anchor="middle"),
        _text(LEFT, TOP - 5, y_label, size=11),
        _text(LEFT, HEIGHT - 12, note, size=11),
    ]
    beside = _spaced([axes.y(item.points[-1][1]) for item in series])
    for place, item in enumerate(series):
        parts += _line(axes, item, COLOURS[place % len(COLOURS)], label_y=beside[place])
    return "\n".join([*parts, "</svg>"]) + "\n"


class _Axes:
    """Where a value lies on the page."""

    def __init__(self, series: Sequence[Series]) -> None:
        xs = [x for item in series for x, _ in item.points]
        ys = [y for item in series for _, y in item.points] + [
            high for item in series for _, high in item.spreads
        ]
        self._ticks = sorted(set(xs))
        self._first, self._last = log10(min(xs)), log10(max(xs))
        self._step = _round_step(max(ys) / 5)
        self._top = self._step * ceil(max(ys) / self._step)

    def x(self, value: float) -> float:
        share = (log10(value) - self._first) / max(1e-9, self._last - self._first)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - value / self._top * (HEIGHT - TOP - BOTTOM)

    def drawn(self) -> list[str]:
        parts = []
        for number in range(round(self._top / self._step) + 1):
            value = number * self._step
            y = self.y(value)
            parts.append(
                f"<line x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y:.1f}' y2='{y:.1f}' stroke='#d0d7de'/>"
            )
            parts.append(_text(LEFT - 8, y + 4, f"{value:,g}", anchor="end"))
        parts += [
            _text(self.x(tick), HEIGHT - BOTTOM + 20, f"{tick:,}", anchor="middle")
            for tick in self._ticks
        ]
        return parts


def _spaced(ends: Sequence[float]) -> list[float]:
    """Heights of names beside the lines' ends, from the lowest line up, that do not lie on each other."""
    heights = list(ends)
    lowest = float(HEIGHT)
    for place in sorted(range(len(ends)), key=lambda place: -ends[place]):
        heights[place] = lowest = min(ends[place], lowest - NAME_HEIGHT)
    return heights


def _line(axes: _Axes, item: Series, colour: str, *, label_y: float) -> list[str]:
    places = [(axes.x(x), axes.y(y)) for x, y in item.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>"]
    for (x, y), (low, high) in zip(places, item.spreads, strict=True):
        parts.append(
            f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{axes.y(low):.1f}' y2='{axes.y(high):.1f}' "
            f"stroke='{colour}'/><circle cx='{x:.1f}' cy='{y:.1f}' r='4' fill='{colour}'/>"
        )
    return [*parts, _text(places[-1][0] + 10, label_y + 4, item.name, colour=colour)]


def _round_step(step: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** int(log10(step))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= step)


def _text(
    x: float,
    y: float,
    words: str,
    *,
    anchor: str = "start",
    size: int = 13,
    weight: str = "400",
    colour: str = "#24292f",
) -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' font-size='{size}' "
        f"font-weight='{weight}' fill='{colour}'>{escape(words)}</text>"
    )
