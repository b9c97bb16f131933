"""What an owner that was given up on cannot do any more, in every job store."""

from __future__ import annotations

import pytest

from shared.results.store import Claimed
from tests.fixtures.job_rows import FACTS, FAILURE, START, new_row, result_of

KEY = new_row().key
WRITES = {
    "publish": lambda store, fence: store.succeed(
        KEY, fence=fence, result=result_of(b"zombie"), facts=FACTS, now=START + 70
    ),
    "fail": lambda store, fence: store.fail(
        KEY, fence=fence, failure=FAILURE, facts=FACTS, now=START + 70
    ),
    "hand back": lambda store, fence: store.release(KEY, fence=fence, now=START + 70),
    "extend": lambda store, fence: store.extend(KEY, fence=fence, lease_until=START + 999),
}


@pytest.fixture
def overtaken(store):
    """The lease of fence 1 has lapsed and fence 2 runs."""
    store.create(new_row(webhook="https://example.org/hook"))
    store.claim(KEY, owner="a", lease_until=START + 60, now=START)
    outcome = store.claim(KEY, owner="b", lease_until=START + 120, now=START + 60)
    assert isinstance(outcome, Claimed)
    return store


@pytest.mark.parametrize("write", WRITES)
def test_an_owner_whose_lease_was_taken_cannot(overtaken, write):
    before = overtaken.get(KEY)
    assert WRITES[write](overtaken, 1) is False
    assert overtaken.get(KEY) == before


@pytest.mark.parametrize("write", WRITES)
def test_the_new_owner_can_after_the_old_one_tried(overtaken, write):
    for attempt in WRITES.values():
        attempt(overtaken, 1)
    assert WRITES[write](overtaken, 2) is True


@pytest.mark.parametrize("write", WRITES)
def test_an_owner_cannot_after_the_new_one_published(overtaken, write):
    result = result_of(b"the one")
    overtaken.succeed(KEY, fence=2, result=result, facts=FACTS, now=START + 65)
    assert WRITES[write](overtaken, 1) is False
    assert overtaken.get(KEY).result == result


@pytest.mark.parametrize("write", ["publish", "fail", "extend"])
def test_an_owner_cannot_after_it_handed_back(store, write):
    store.create(new_row())
    store.claim(KEY, owner="a", lease_until=START + 60, now=START)
    store.release(KEY, fence=1, now=START + 1)
    assert WRITES[write](store, 1) is False
    assert store.get(KEY).status == "queued"


@pytest.mark.parametrize("write", WRITES)
def test_a_lapsed_lease_that_nobody_took_still_counts(store, write):
    store.create(new_row())
    store.claim(KEY, owner="a", lease_until=START + 60, now=START)
    assert WRITES[write](store, 1) is True


@pytest.mark.parametrize("write", WRITES)
def test_a_fence_that_was_never_given_opens_nothing(store, write):
    store.create(new_row())
    assert WRITES[write](store, 0) is False
    assert WRITES[write](store, 1) is False
    assert store.get(KEY).status == "queued"


def test_fences_grow_through_hand_backs_and_lapses(store):
    store.create(new_row(max_attempts=9))
    fences = []
    now = START
    for turn in range(6):
        outcome = store.claim(KEY, owner=str(turn), lease_until=now + 10, now=now)
        fences.append(outcome.row.fence)
        if turn % 2:
            store.release(KEY, fence=outcome.row.fence, now=now, charged=True)
        now += 10
    assert fences == [1, 2, 3, 4, 5, 6]


def test_one_of_cancel_and_publish_wins(store):
    for job_id, cancel_first in (("one", True), ("two", False)):
        row = new_row("acme", job_id)
        store.create(row)
        store.claim(row.key, owner="a", lease_until=START + 60, now=START)
        published = canceled = None
        if cancel_first:
            canceled = store.cancel(row.key, now=START + 1)
        published = store.succeed(row.key, fence=1, result=result_of(), facts=FACTS, now=START + 1)
        canceled = canceled or store.cancel(row.key, now=START + 2)
        assert published is not cancel_first
        assert canceled.status == ("canceled" if cancel_first else "succeeded")
        assert (store.get(row.key).result is None) is cancel_first


def test_an_ending_that_is_asked_for_again_answers_as_the_first_time(store):
    store.create(new_row())
    store.claim(KEY, owner="a", lease_until=START + 60, now=START)
    assert WRITES["publish"](store, 1) is True
    first = store.get(KEY)
    assert WRITES["publish"](store, 1) is True
    assert store.get(KEY) == first


def test_a_hand_back_that_is_asked_for_again_costs_no_second_attempt(store):
    store.create(new_row())
    store.claim(KEY, owner="a", lease_until=START + 60, now=START)
    assert WRITES["hand back"](store, 1) is True
    first = store.get(KEY)
    assert WRITES["hand back"](store, 1) is True
    assert store.get(KEY) == first


def test_a_clock_that_runs_ahead_takes_a_lease_early_and_still_one_owner_publishes(store):
    store.create(new_row())
    store.claim(KEY, owner="a", lease_until=START + 60, now=START)
    ahead = START + 600
    outcome = store.claim(KEY, owner="b", lease_until=ahead + 60, now=ahead)
    assert outcome.row.fence == 2
    for fence, published in ((1, False), (2, True)):
        mine = result_of(str(fence).encode())
        done = store.succeed(KEY, fence=fence, result=mine, facts=FACTS, now=START + 2)
        assert done is published
    assert store.get(KEY).result == result_of(b"2")
