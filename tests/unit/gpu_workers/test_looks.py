"""How many messages are received only to see who stands behind them."""

from __future__ import annotations

import pytest

from gpu_workers.looks import CALM_S, LOOKS_BEHIND_PER_S, LOOKS_PER_S, Looks
from tests.fixtures.job_rows import ManualClock

AHEAD = 96


def seen_through(clock, looks, *, age_s):
    """Messages that are sent away in ten seconds, of a queue that holds nothing else."""
    turned = 0
    until = clock() + 10
    while clock() < until:
        found = looks.limit(20, waiting=76)
        if found:
            turned += found
            looks.turned_away(found, waiting=76, sent_at=clock() - age_s)
        clock.advance(0.005)
    return turned


@pytest.mark.parametrize(("age_s", "per_s"), [(0.1, LOOKS_PER_S), (60.0, LOOKS_BEHIND_PER_S)])
def test_a_flood_that_grows_is_seen_through_quickly_and_what_was_there_beside_the_runs(
    age_s, per_s
):
    clock = ManualClock()

    turned = seen_through(clock, Looks(clock=clock, monotonic=clock), age_s=age_s)

    assert turned == pytest.approx(10 * per_s, rel=0.1)


def test_who_sends_nobody_away_receives_all_that_there_is_room_for():
    clock = ManualClock()
    looks = Looks(clock=clock, monotonic=clock)
    looks.turned_away(20, waiting=76, sent_at=clock())
    assert looks.limit(20, waiting=76) == 0

    clock.advance(CALM_S + 0.1)

    assert looks.limit(20, waiting=76) == 20


def test_places_that_became_free_are_filled_whatever_was_looked_at():
    clock = ManualClock()
    looks = Looks(clock=clock, monotonic=clock)
    looks.turned_away(20, waiting=76, sent_at=clock())

    assert looks.limit(AHEAD - 44, waiting=44) == 32
