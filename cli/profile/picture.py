"""Draws a profile as one SVG: what a start and a request are made of, and what threads and memory make of them."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cli.profile.advice import Size
    from cli.profile.measure import Profile

WIDTH: Final = 760
LEFT: Final = 150
BAR: Final = 22
GAP: Final = 8
NUMBERS: Final = 110
"""Room for a bar's number, behind it."""
COLOUR: Final = "#1f6feb"
FONT: Final = "font-family='system-ui,sans-serif' font-size='13' fill='#24292f'"


def draw(profile: Profile, offered: Sequence[Size], *, title: str) -> str:
    """The whole document."""
    requests = profile.requests[0]
    chains = [
        (f"A start: {sum(profile.stages_ms.values()):.0f} ms", profile.stages_ms, 1),
        (f"A request: {sum(requests.parts_ms.values()):.2f} ms", requests.parts_ms, 3),
    ]
    threads = {_threads(item.threads): item.p99_ms for item in profile.requests}
    starts = {_named(size): size.start_ms for size in offered}
    prices = {_named(size): size.million_usd for size in offered}
    beside = [
        ("The 99th percentile of requests, by threads", threads, 2, "ms"),
        ("A start, by memory", starts, 0, "ms"),
        ("A million calls, by memory", prices, 2, "USD"),
    ]
    parts, top = [], 50
    for heading, values, digits in chains:
        drawn, top = _section(heading, values, digits, top)
        parts += drawn
    for heading, values, digits, unit in beside:
        drawn, top = _section(heading, values, digits, top, unit=unit, chained=False)
        parts += drawn
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {top + 16}' role='img' {FONT}>",
            f"<title>{escape(title)}</title>",
            f"<rect width='{WIDTH}' height='{top + 16}' fill='#ffffff'/>",
            f"<text x='16' y='26' font-weight='600'>{escape(title)}</text>",
            *parts,
            f"<text x='16' y='{top}'>* estimated: a share of one vCPU</text>",
            "</svg>\n",
        ]
    )


def _section(
    heading: str,
    values: Mapping[str, float],
    digits: int,
    top: int,
    *,
    unit: str = "ms",
    chained: bool = True,
) -> tuple[list[str], int]:
    """Bars, and where the next section begins; `chained`: each begins where the one before ended."""
    whole = sum(values.values()) if chained else max(values.values(), default=0.0)
    scale = (WIDTH - LEFT - NUMBERS) / (whole or 1.0)
    parts, at = [f"<text x='16' y='{top + 12}' font-weight='600'>{escape(heading)}</text>"], 0.0
    top += BAR
    for name, value in values.items():
        x, width = LEFT + at * scale, max(1.0, value * scale)
        parts += [
            f"<text x='{LEFT - 10}' y='{top + 16}' text-anchor='end'>{escape(name)}</text>",
            f"<rect x='{x:.1f}' y='{top}' width='{width:.1f}' height='{BAR}' fill='{COLOUR}'/>",
            f"<text x='{x + width + 6:.1f}' y='{top + 16}'>{value:.{digits}f} {unit}</text>",
        ]
        at += value if chained else 0.0
        top += BAR + GAP
    return parts, top + 2 * GAP


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _named(size: Size) -> str:
    return f"{size.memory_mib} MiB{' *' if size.estimated else ''}"
