"""Draw a simulated day of a fleet and print what it cost: `python -m benchmarks.fleet`.

Writes docs/images/fleet-day.svg. Seconds of simulated time, not of this machine: the same everywhere.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.fleet.simulation import Course, World, simulate, steady
from functions.fleet_scaler.desired import Rules

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "fleet-day.svg"
RULES = Rules(max_workers=8, job_s=2.0, wait_s={"async": 300, "batch": 3600}, idle_s=600)
PER_MINUTE = (0, 0, 0, 5, 20, 60, 100, 60, 60, 20, 5, 0)
"""Jobs a minute, by hour."""
HOUR_S = 3600
_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 760, 120, 56, 34, 46
_COLOURS = {"backlog": "#b45309", "wanted": "#1d4ed8", "ready": "#0f766e"}


def main() -> None:
    """Simulate, print and draw."""
    sys.stdout.write("\n".join(table()) + "\n")
    PICTURE.write_text(picture())


def table() -> list[str]:
    """What each world came to, as a row of the page that shows it."""
    day, length_s = steady(PER_MINUTE), len(PER_MINUTE) * HOUR_S
    worlds = {
        "undisturbed": World(arrivals=day, length_s=length_s),
        "one interruption an hour and worker": _disturbed(),
        "a burst of 1000 at once": World(arrivals={HOUR_S: 1000}, length_s=3 * HOUR_S),
        "one job": World(arrivals={HOUR_S: 1}, length_s=3 * HOUR_S),
    }
    return [_line(label, simulate(world, RULES)) for label, world in worlds.items()]


def picture() -> str:
    """The disturbed day, drawn."""
    return _picture(simulate(_disturbed(), RULES), len(PER_MINUTE) * HOUR_S)


def _disturbed() -> World:
    length_s = len(PER_MINUTE) * HOUR_S
    return World(arrivals=steady(PER_MINUTE), length_s=length_s, interruptions_per_hour=1.0)


def _line(label: str, course: Course) -> str:
    most = max(wanted for _, _, wanted, _ in course.samples)
    return (
        f"| {label} | {len(course.waits_s)} | {course.interrupted} | {course.wait_s(0.5)} | "
        f"{course.wait_s(0.95)} | {course.wait_s(1.0)} | {most} | {course.paid_s / HOUR_S:.1f} | "
        f"{course.worked_s / HOUR_S:.1f} |"
    )


def _picture(course: Course, length_s: int) -> str:
    backlog = [(second, value) for second, value, _, _ in course.samples]
    wanted = [(second, value) for second, _, value, _ in course.samples]
    ready = [(second, value) for second, _, _, value in course.samples]
    lower = _TOP + _HEIGHT + _GAP
    height = lower + _HEIGHT + 34
    width = _LEFT + _WIDTH + 16
    box = f'viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" font-size="12"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img">',
        "<title>A simulated day of a fleet: backlog, workers wanted and workers ready</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _panel("Jobs waiting or running", _TOP, {"backlog": backlog}, length_s),
        _panel("Workers", lower, {"wanted": wanted, "ready": ready}, length_s),
        *(
            f'<text x="{_x(hour * HOUR_S, length_s):.0f}" y="{lower + _HEIGHT + 16}" '
            f'text-anchor="middle">{hour} h</text>'
            for hour in range(len(PER_MINUTE) + 1)
        ),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _panel(title: str, top: int, lines: dict[str, Sequence[tuple[int, int]]], length_s: int) -> str:
    most = max(value for line in lines.values() for _, value in line) or 1
    drawn = [
        f'<text x="{_LEFT}" y="{top - 12}" font-weight="600">{title}</text>',
        f'<path d="M{_LEFT},{top} V{top + _HEIGHT} H{_LEFT + _WIDTH}" fill="none" stroke="#9ca3af"/>',
        f'<text x="{_LEFT - 6}" y="{top + 8}" text-anchor="end">{most}</text>',
        f'<text x="{_LEFT - 6}" y="{top + _HEIGHT}" text-anchor="end">0</text>',
    ]
    for number, (name, line) in enumerate(lines.items()):
        x = _LEFT + _WIDTH - 150 + 75 * number
        if len(lines) > 1:
            drawn.append(f'<text x="{x}" y="{top - 12}" fill="{_COLOURS[name]}">{name}</text>')
        drawn.append(
            f'<path d="{_steps(line, top, most, length_s)}" fill="none" '
            f'stroke="{_COLOURS[name]}" stroke-width="1.5"/>'
        )
    return "\n".join(drawn)


def _steps(line: Sequence[tuple[int, int]], top: int, most: int, length_s: int) -> str:
    """A stair from change to change."""
    path, last = "", None
    for second, value in line:
        if value == last:
            continue
        x, y = _x(second, length_s), top + _HEIGHT * (1 - value / most)
        path += f"M{x:.1f},{y:.1f}" if last is None else f"H{x:.1f}V{y:.1f}"
        last = value
    return f"{path}H{_x(length_s, length_s):.1f}"


def _x(second: int, length_s: int) -> float:
    return _LEFT + _WIDTH * second / length_s


if __name__ == "__main__":
    main()
