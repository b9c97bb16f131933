"""What tells whether workers hold jobs, on both stores."""

from __future__ import annotations

import pytest

from shared.results.leases import DynamoLeases, MemoryLeases
from shared.results.memory import MemoryJobStore
from tests.fixtures.job_rows import FACTS, START, new_row, result_of


@pytest.fixture
def leases(store, clock):
    if isinstance(store, MemoryJobStore):
        return MemoryLeases(lambda: store.due(now=START + 1e9, limit=1000), clock=clock)
    table = store._table
    return DynamoLeases(table._client, table=table._name, clock=clock)


def running(store, job_id, **members):
    row = new_row("acme", job_id, **members)
    store.create(row)
    return store.claim(row.key, owner="w", lease_until=START + 60, now=START).row


def test_jobs_of_the_pool_that_are_run_under_a_lease_are_counted(store, leases):
    for number in range(9):
        running(store, f"job-{number}")
    running(store, "elsewhere", pool="other")
    store.create(new_row("acme", "waiting"))

    assert leases.leased("shared") == 9
    assert leases.leased("other") == 1
    assert leases.leased("third") == 0


def test_a_job_that_has_ended_or_whose_lease_has_lapsed_is_not(store, leases, clock):
    ended = running(store, "ended")
    running(store, "lapses")
    store.succeed(ended.key, fence=ended.fence, result=result_of(), facts=FACTS, now=START + 1)

    assert leases.leased("shared") == 1
    clock.advance(61)
    assert leases.leased("shared") == 0
