"""Hours of the day in which chunks begin."""

from __future__ import annotations

import pytest

from shared.jobs.batches.window import is_open, opens_at

DAY = 20_000 * 86_400


def at(text: str) -> float:
    hours, minutes = text.split(":")
    return DAY + int(hours) * 3600 + int(minutes) * 60


@pytest.mark.parametrize(
    ("window", "now", "opens"),
    [
        ("", "12:00", "12:00"),
        ("22:00-06:00", "23:30", "23:30"),
        ("22:00-06:00", "05:59", "05:59"),
        ("22:00-06:00", "22:00", "22:00"),
        ("22:00-06:00", "06:00", "22:00"),
        ("22:00-06:00", "12:00", "22:00"),
        ("09:30-17:00", "09:29", "09:30"),
        ("09:30-17:00", "16:59", "16:59"),
    ],
)
def test_a_window_opens_every_day(window, now, opens):
    assert opens_at(window, at(now)) == at(opens)
    assert is_open(window, at(now)) is (now == opens)


def test_a_window_that_has_closed_opens_on_the_next_day():
    assert opens_at("09:30-17:00", at("17:00")) == at("09:30") + 86_400
