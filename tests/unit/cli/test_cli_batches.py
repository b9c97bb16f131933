"""The pace of a batch, as the bar of `laneway batches submit --wait` tells it."""

from __future__ import annotations

from cli.batches import Pace
from tests.fixtures.job_rows import ManualClock


def test_the_pace_is_told_once_the_counts_have_moved_and_until_they_move_again():
    clock = ManualClock()
    pace = Pace(clock)
    pace.note(0)
    assert pace.told(6000) == ""
    clock.advance(40)
    pace.note(1000)
    assert pace.told(5000) == "25 lines/s  0:03:20 left"
    clock.advance(60)
    pace.note(1000)
    assert pace.told(5000) == "25 lines/s  0:02:20 left", "the rate stands, the time runs"


def test_a_slow_batch_has_a_rate_too_and_never_less_than_no_time_left():
    clock = ManualClock()
    pace = Pace(clock)
    pace.note(10)
    clock.advance(100)
    pace.note(20)
    clock.advance(1000)
    assert pace.told(5) == "0.1 lines/s  0:00:00 left"
