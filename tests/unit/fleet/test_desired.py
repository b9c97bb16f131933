"""The fleet's size, decided: a table of cases, and what holds of every decision."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.fleet_scaler.desired import SURPLUS_AFTER_S, Rules, Seen, desired, needed

RULES = Rules(max_workers=8, job_s=2.0, chunk_s=60.0, wait_s={"async": 300, "batch": 3600})
NOW = 1_000_000.0

DEPTHS = st.dictionaries(
    st.sampled_from(["async-high", "async", "batch-high", "batch", "chunks"]),
    st.integers(min_value=0, max_value=100_000),
)


@pytest.mark.parametrize(
    ("depths", "workers", "expected"),
    [
        pytest.param({}, 0, 0, id="nothing to do and nobody there"),
        pytest.param({"async": 1}, 0, 1, id="one job from nothing"),
        pytest.param({"batch": 1}, 0, 1, id="one batch job from nothing"),
        pytest.param({"async": 150}, 0, 1, id="300 s of work in 300 s"),
        pytest.param({"async": 151}, 0, 2, id="one job more than one worker does in time"),
        pytest.param({"async-high": 75, "async": 75}, 0, 1, id="a priority is of the same class"),
        pytest.param({"async-high": 150, "async": 150}, 1, 2, id="both classes of priority add up"),
        pytest.param({"batch": 1800}, 0, 1, id="an hour of batch work has an hour"),
        pytest.param({"batch": 3600}, 0, 2, id="two hours of it do not"),
        pytest.param({"async": 150, "batch": 1800}, 0, 2, id="what is due soon comes on top"),
        pytest.param({"chunks": 120}, 0, 2, id="a chunk is a minute of work"),
        pytest.param({"async": 1_000_000}, 0, 8, id="the stage's most, whatever waits"),
        pytest.param({"async": 1}, 6, 6, id="no fewer while one job is there"),
        pytest.param({"async": 1}, 12, 12, id="no fewer though the stage's most was lowered"),
    ],
)
def test_out_follows_the_backlog_and_the_wait_that_its_class_allows(
    depths, workers, expected
) -> None:
    seen = Seen(depths=depths, workers=workers)

    assert desired(seen, RULES, idle_since=None, now=NOW).workers == expected


@pytest.mark.parametrize(
    ("quiet_s", "workers", "expected"),
    [
        pytest.param(0, 8, 8, id="the first empty look changes nothing"),
        pytest.param(SURPLUS_AFTER_S - 1, 8, 8, id="nor does the second"),
        pytest.param(SURPLUS_AFTER_S, 8, 4, id="then the surplus goes, half of it"),
        pytest.param(SURPLUS_AFTER_S, 5, 3, id="the larger half stays"),
        pytest.param(SURPLUS_AFTER_S, 1, 1, id="the last one waits for another job"),
        pytest.param(599, 1, 1, id="to the end of the idle time"),
        pytest.param(600, 1, 0, id="and goes"),
        pytest.param(600, 8, 0, id="with all that are still there"),
    ],
)
def test_in_comes_by_and_by_when_nothing_is_left_to_do(quiet_s, workers, expected) -> None:
    seen = Seen(depths={"async": 0}, workers=workers)

    decision = desired(seen, RULES, idle_since=NOW - quiet_s, now=NOW)

    assert decision.workers == expected
    assert decision.idle_since == NOW - quiet_s


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param({"depths": {"async": 1}}, id="something waits or is in flight"),
        pytest.param({"depths": {"chunks": 1}}, id="a chunk does"),
        pytest.param({"depths": {}, "leased": 1}, id="a worker holds a job by the table"),
        pytest.param({"depths": {}, "woken": True}, id="a submit has just said so"),
    ],
)
def test_it_never_shrinks_while_there_is_something_to_do_and_forgets_the_quiet(seen) -> None:
    decision = desired(Seen(**seen, workers=5), RULES, idle_since=NOW - 10_000, now=NOW)

    assert decision.workers == 5
    assert decision.idle_since is None


def test_a_wake_brings_the_first_worker_before_the_queue_counts_the_job() -> None:
    seen = Seen(depths={"async": 0}, woken=True, workers=0)

    assert desired(seen, RULES, idle_since=None, now=NOW).workers == 1


def test_the_stages_least_stays_when_there_is_nothing_to_do() -> None:
    rules = Rules(max_workers=8, min_workers=2, job_s=2.0, wait_s=RULES.wait_s)

    for workers in (0, 1, 2, 7):
        quiet = Seen(depths={}, workers=workers)
        assert desired(quiet, rules, idle_since=NOW - 9999, now=NOW).workers == 2


@given(
    depths=DEPTHS, leased=st.integers(0, 10), workers=st.integers(0, 20), quiet=st.floats(0, 1e5)
)
def test_whatever_is_seen_the_decision_keeps_its_promises(depths, leased, workers, quiet) -> None:
    seen = Seen(depths=depths, leased=leased, workers=workers)

    decision = desired(seen, RULES, idle_since=NOW - quiet, now=NOW)

    if seen.backlog:
        assert decision.workers >= max(1, workers)
        assert decision.workers <= max(RULES.max_workers, workers)
    else:
        assert RULES.min_workers <= decision.workers <= max(workers, RULES.min_workers)
    assert (decision.idle_since is None) == bool(seen.backlog)


@given(depths=DEPTHS, more=st.integers(1, 1000))
def test_more_work_never_asks_for_fewer_workers(depths, more) -> None:
    fuller = {**depths, "async": depths.get("async", 0) + more}

    less = needed(Seen(depths=depths, workers=0), RULES)

    assert needed(Seen(depths=fuller, workers=0), RULES) >= less
