"""Draws a profile as one SVG: what a start is made of, and what a request is made of."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cli.profile.measure import Profile

WIDTH: Final = 760
LEFT: Final = 150
BAR: Final = 22
GAP: Final = 8
NUMBERS: Final = 110
"""Room for a bar's number, behind it."""
COLOUR: Final = "#1f6feb"
FONT: Final = "font-family='system-ui,sans-serif' font-size='13' fill='#24292f'"


def draw(profile: Profile, *, title: str) -> str:
    """The whole document."""
    requests = profile.requests[0]
    sections = [
        (f"A start: {sum(profile.stages_ms.values()):.0f} ms", profile.stages_ms, 1),
        (f"A request: {sum(requests.parts_ms.values()):.2f} ms", requests.parts_ms, 3),
    ]
    parts, top = [], 50
    for heading, values, digits in sections:
        drawn, top = _section(heading, values, digits, top)
        parts += drawn
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {top}' role='img' {FONT}>",
            f"<title>{escape(title)}</title>",
            f"<rect width='{WIDTH}' height='{top}' fill='#ffffff'/>",
            f"<text x='16' y='26' font-weight='600'>{escape(title)}</text>",
            *parts,
            "</svg>\n",
        ]
    )


def _section(
    heading: str, values: Mapping[str, float], digits: int, top: int
) -> tuple[list[str], int]:
    """Bars that begin where the one before ended, and where the next section begins."""
    total = sum(values.values()) or 1.0
    scale = (WIDTH - LEFT - NUMBERS) / total
    parts, at = [f"<text x='16' y='{top + 12}' font-weight='600'>{escape(heading)}</text>"], 0.0
    top += BAR
    for name, value in values.items():
        x, width = LEFT + at * scale, max(1.0, value * scale)
        parts += [
            f"<text x='{LEFT - 10}' y='{top + 16}' text-anchor='end'>{escape(name)}</text>",
            f"<rect x='{x:.1f}' y='{top}' width='{width:.1f}' height='{BAR}' fill='{COLOUR}'/>",
            f"<text x='{x + width + 6:.1f}' y='{top + 16}'>{value:.{digits}f} ms</text>",
        ]
        at += value
        top += BAR + GAP
    return parts, top + 2 * GAP
