"""Unfinished jobs are counted by the rows themselves: whatever ends a job uncounts it, in the same write."""

from __future__ import annotations

from itertools import count

import pytest

from tests.fixtures.job_rows import FACTS, FAILURE, new_row, result_of

numbers = count()


def accept(store, many, *, counted=True, tenant="acme"):
    rows = [new_row(tenant, f"job-{next(numbers)}", counted=counted) for _ in range(many)]
    for row in rows:
        assert store.create(row) is None
    return rows


def claim(store, clock, row):
    claimed = store.claim(row.key, owner="w", lease_until=clock() + 60, now=clock())
    return claimed.row


def test_jobs_of_a_tenant_are_counted_and_no_others(store):
    accept(store, 3)
    accept(store, 2, counted=False)
    accept(store, 4, tenant="other")

    assert store.counted("acme", up_to=100) == 3
    assert store.counted("other", up_to=100) == 4
    assert store.counted("nobody", up_to=100) == 0


def test_counting_ends_where_it_says_enough(store):
    accept(store, 5)

    assert store.counted("acme", up_to=2) == 2


def succeeded(store, clock, row):
    fence = claim(store, clock, row).fence
    store.succeed(row.key, fence=fence, result=result_of(), facts=FACTS, now=clock())


def failed(store, clock, row):
    fence = claim(store, clock, row).fence
    store.fail(row.key, fence=fence, failure=FAILURE, facts=None, now=clock())


def exhausted(store, clock, row):
    for _ in range(row.max_attempts):
        last = claim(store, clock, row)
        clock.advance(61)
    store.exhaust(last, failure=FAILURE, now=clock())


def canceled(store, clock, row):
    store.cancel(row.key, now=clock())


def expired(store, clock, row):
    clock.advance(row.ttl_at - clock() + 1)
    store.expire(row.key, now=clock())


@pytest.mark.parametrize("end", [succeeded, failed, exhausted, canceled, expired])
def test_every_ending_uncounts_its_job_once_however_often_it_is_repeated(store, clock, end):
    first, second = accept(store, 2)

    end(store, clock, first)
    end_again = canceled if end is exhausted else end
    if end in (canceled, expired):
        end_again(store, clock, first)

    assert store.get(first.key).counted is False
    assert store.counted("acme", up_to=100) == 1
    assert store.get(second.key).counted is True


def test_what_happens_before_the_end_changes_no_count(store, clock):
    [row] = accept(store, 1)
    store.sent(row.key, due_at=clock() + 60)
    held = claim(store, clock, row)
    assert held.counted is True
    store.extend(row.key, fence=held.fence, lease_until=clock() + 90)
    store.release(row.key, fence=held.fence, now=clock())
    store.postpone(row.key, due_at=clock() + 60)

    assert store.counted("acme", up_to=100) == 1
