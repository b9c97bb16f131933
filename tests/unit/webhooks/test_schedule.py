from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.jobs.webhook_schedule import (
    ATTEMPTS,
    HIDDEN_S_MAX,
    JITTER,
    WAITS_S,
    attempt_at,
    early_by_s,
    hidden_s,
    retry_after_s,
    wait_after_s,
)
from shared.limits import SQS_VISIBILITY_S_MAX

STARTS_S = list(accumulate(WAITS_S))
HOUR_S = 3600
NOW = 1_800_000_000.0


def test_attempts_follow_the_example_of_the_specification():
    minutes = [0, 5 / 60, 5, 30, *(60 * hours for hours in (2, 5, 10, 14, 20, 24))]
    assert [wait / 60 for wait in WAITS_S] == pytest.approx(minutes)


@pytest.mark.parametrize("attempt", range(1, ATTEMPTS + 1))
def test_an_event_is_due_for_the_attempt_of_its_age(attempt):
    assert attempt_at(STARTS_S[attempt - 1]) == attempt
    assert early_by_s(STARTS_S[attempt - 1]) == 0


def test_a_clock_that_runs_behind_the_brokers_does_not_skip_the_first_attempt():
    assert attempt_at(-30.0) == 1


@given(random=st.floats(0, 1), age_s=st.floats(-10, 500_000), asked_s=st.floats(0, 1e9))
def test_a_message_is_never_hidden_for_longer_than_a_broker_can(random, age_s, asked_s):
    wait_s = wait_after_s(attempt_at(age_s), random=lambda: random, retry_after_s=asked_s)
    for wait in (wait_s, early_by_s(age_s)):
        if wait:
            assert 1 <= hidden_s(wait) <= HIDDEN_S_MAX < SQS_VISIBILITY_S_MAX


@given(random=st.floats(0, 1), attempt=st.integers(1, ATTEMPTS - 1))
def test_a_wait_is_the_schedules_and_a_little_jitter(random, attempt):
    wait_s = wait_after_s(attempt, random=lambda: random)
    assert WAITS_S[attempt] <= wait_s <= WAITS_S[attempt] * (1 + JITTER)


def test_there_is_no_wait_after_the_last_attempt():
    assert wait_after_s(ATTEMPTS, random=lambda: 0.0) is None


def test_a_receiver_may_ask_for_a_longer_wait_but_not_for_a_shorter_one():
    assert wait_after_s(2, random=lambda: 0.0, retry_after_s=HOUR_S) == HOUR_S
    assert wait_after_s(2, random=lambda: 0.0, retry_after_s=1) == WAITS_S[2]
    assert wait_after_s(2, random=lambda: 0.0, retry_after_s=1e12) == HIDDEN_S_MAX


def test_a_message_that_comes_back_within_a_long_wait_is_early():
    after = STARTS_S[8] + HIDDEN_S_MAX
    assert WAITS_S[9] == 24 * HOUR_S
    assert early_by_s(after + 1) == STARTS_S[9] - after - 1
    assert early_by_s(after + HIDDEN_S_MAX) == STARTS_S[9] - after - HIDDEN_S_MAX


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("120", 120),
        (" 7 ", 7),
        ("-5", 0),
        ("1.5", 0),
        ("soon", 0),
        ("٣", 0),
        ("9" * 400, 999_999_999),
        ("Fri, 15 Jan 2027 08:10:00 GMT", 600),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0),
        ("Fri, 15 Jan 99999999999 07:00:00 GMT", 0),
    ],
)
def test_retry_after_is_a_number_or_a_date(header, seconds):
    assert retry_after_s(header, now=NOW) == seconds
