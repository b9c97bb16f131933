"""The store in memory under many threads: one wins, whatever they race for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

from shared.results.memory import MemoryJobStore
from shared.results.store import Claimed
from tests.fixtures.job_rows import FACTS, START, ManualClock, new_row, result_of

THREADS = 16
ROUNDS = 50


def race(action):
    """What every thread got from the action, all of them starting together."""
    barrier = Barrier(THREADS)

    def run(number):
        barrier.wait(timeout=10)
        return action(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


def end(store, key, fence, number):
    """Cancel with an odd number, publish with an even one; whether it counted."""
    if number % 2:
        return store.cancel(key, now=START + 1).status == "canceled"
    result = result_of(str(number).encode())
    return store.succeed(key, fence=fence, result=result, facts=FACTS, now=START + 1)


def test_one_of_many_submissions_of_an_id_makes_the_job():
    store = MemoryJobStore(clock=ManualClock())
    for turn in range(ROUNDS):
        row = new_row("acme", f"job-{turn}")
        assert race(lambda _, row=row: store.create(row)).count(None) == 1


def test_one_of_many_owners_gets_the_lease_and_one_of_many_endings_counts():
    store = MemoryJobStore(clock=ManualClock())
    for turn in range(ROUNDS):
        row = new_row("acme", f"job-{turn}")
        store.create(row)
        outcomes = race(
            lambda n, row=row: store.claim(row.key, owner=str(n), lease_until=START + 60, now=START)
        )
        [claimed] = [outcome for outcome in outcomes if isinstance(outcome, Claimed)]
        endings = race(partial(end, store, row.key, claimed.row.fence))
        kept = store.get(row.key)
        published = [n for n in range(0, THREADS, 2) if endings[n]]
        assert len(published) == (kept.status == "succeeded")
        assert (kept.result is not None) is bool(published)
