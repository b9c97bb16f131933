"""Hours of the day in which a batch may run, in UTC: `22:00-06:00` spans midnight."""

from __future__ import annotations

from typing import Final

_DAY_S: Final = 86_400


def opens_at(window: str, now: float) -> float:
    """When chunks may begin, from `now` on: now itself within the window, or without one."""
    if not window:
        return now
    first_s, last_s = (_seconds(text) for text in window.split("-"))
    since_s = (now % _DAY_S - first_s) % _DAY_S
    if since_s < (last_s - first_s) % _DAY_S:
        return now
    return now + _DAY_S - since_s


def is_open(window: str, now: float) -> bool:
    """Whether chunks may begin now."""
    return opens_at(window, now) == now


def _seconds(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 3600 + int(minutes) * 60
