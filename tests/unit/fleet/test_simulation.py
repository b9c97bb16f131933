"""The scaler's decisions in a simulated fleet: waits and cost stay within bounds, and no work is stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.fleet import __main__ as drawn
from benchmarks.fleet.simulation import Course, World, simulate, steady
from functions.fleet_scaler.desired import Rules

RULES = Rules(max_workers=8, job_s=2.0, wait_s={"async": 300, "batch": 3600}, idle_s=600)
STARTUP_S = 300
"""The longest of the simulated world."""
HOUR_S = 3600
DAY = steady([0, 0, 0, 5, 20, 60, 100, 60, 60, 20, 5, 0])


def day(**changes) -> Course:
    world = World(arrivals=DAY, length_s=12 * HOUR_S, **changes)
    return simulate(world, RULES)


@pytest.fixture(scope="module")
def plain() -> Course:
    return day()


def burst(jobs: int, **changes) -> Course:
    return simulate(World(arrivals={HOUR_S: jobs}, length_s=3 * HOUR_S, **changes), RULES)


def test_a_job_after_a_quiet_night_waits_for_one_start_up_and_the_fleet_is_gone_again() -> None:
    course = burst(1)

    assert course.waits_s[0] <= STARTUP_S + 1
    assert course.samples[-1][2:] == (0, 0)
    assert course.paid_s <= STARTUP_S + RULES.idle_s + 180


def test_without_the_wake_it_waits_for_the_next_look_and_the_queues_count_as_well() -> None:
    woken, unwoken = burst(1), burst(1, wakes=False)

    assert woken.waits_s[0] < unwoken.waits_s[0] <= STARTUP_S + 60 + 30


def test_a_burst_is_worked_off_within_start_up_a_look_and_the_target_wait() -> None:
    course = burst(1000)

    assert course.left == 0
    assert max(course.waits_s) <= STARTUP_S + 60 + 30 + RULES.wait_s["async"] + 60


def test_a_burst_past_the_stages_most_takes_longer_and_costs_no_more_than_the_most() -> None:
    course = burst(6000)

    assert course.left == 0
    assert max(desired for _, _, desired, _ in course.samples) == RULES.max_workers
    assert max(course.waits_s) <= STARTUP_S + 90 + 6000 * RULES.job_s / RULES.max_workers * 1.1


def test_a_day_keeps_the_waits_of_most_jobs_within_the_target(plain) -> None:
    assert plain.left == 0
    assert plain.wait_s(0.95) <= RULES.wait_s["async"]
    assert plain.wait_s(1.0) <= STARTUP_S + 90 + RULES.wait_s["async"]


def test_a_day_costs_little_more_than_half_of_a_fleet_that_is_always_there(plain) -> None:
    most = max(desired for _, _, desired, _ in plain.samples)

    assert plain.worked_s <= plain.paid_s <= 0.55 * most * 12 * HOUR_S


def test_no_worker_is_stopped_at_work_and_nothing_shrinks_while_something_is_seen(plain) -> None:
    for course in (plain, burst(1000), day(interruptions_per_hour=2.0)):
        assert course.stopped_busy == 0
        assert course.in_while_seen == 0


def test_interruptions_lose_no_job_and_cost_a_start_up_each() -> None:
    course, undisturbed = day(interruptions_per_hour=1.0), day()

    assert course.interrupted > 5
    assert course.left == 0
    assert len(course.waits_s) == sum(DAY.values())
    assert course.wait_s(0.95) <= RULES.wait_s["async"] + STARTUP_S
    assert course.paid_s <= undisturbed.paid_s + course.interrupted * 4 * STARTUP_S


def test_the_fleets_page_shows_what_the_simulation_says_today() -> None:
    docs = Path(__file__).parents[3] / "docs"
    page = (docs / "architecture" / "04-fleet.md").read_text()

    for row in drawn.table():
        assert row in page
    assert drawn.PICTURE.read_text() == drawn.picture()
