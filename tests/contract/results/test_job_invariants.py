"""Whatever owners, sweepers and callers do, in whatever order: what must always hold of every job.

A Hypothesis state machine plays several owners with leases that lapse, messages that come twice or
late, and a clock that jumps. Owners never forget a fence, so each of them goes on writing as a
zombie long after its lease was taken.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from shared.results.memory import MemoryJobStore
from shared.results.store import Busy, Claimed, Exhausted, Exists, Finished, JobKey, Missing
from shared.schema.status import TERMINAL
from tests.fixtures.job_rows import (
    FACTS,
    FAILURE,
    ManualClock,
    dynamo_store,
    dynamodb_client,
    new_row,
    result_of,
)

KEYS = [JobKey("acme", "one"), JobKey("zeta", "one")]
LEASE_S = 60.0
TTL_S = 150.0
KEPT_S = 10_000_000.0

keys = st.sampled_from(KEYS)
owners = st.sampled_from(["a", "b", "c"])


class JobStoreMachine(RuleBasedStateMachine):
    """Drives a store and remembers what it promised."""

    claims = Bundle("claims")
    """(key, fence) of every claim that was ever granted."""
    seen = Bundle("seen")
    """Rows as somebody read them, some time ago."""

    def __init__(self):
        super().__init__()
        self.clock = ManualClock()
        self.opened = ExitStack()
        self.store = self.open_store()
        self.ended = {}
        self.fences = {}
        self.published = {}
        self.live = {}

    def open_store(self):
        raise NotImplementedError

    def teardown(self):
        self.opened.close()

    def row(self, key, **members):
        now = self.clock.now
        return replace(
            new_row(),
            key=key,
            created_at=now,
            max_attempts=2,
            ttl_at=now + TTL_S,
            purge_at=now + KEPT_S,
            webhook="https://example.org/hook" if key.tenant == "acme" else None,
            **members,
        )

    def granted(self, key, outcome, until):
        """A claim was granted: nobody else may hold a live lease, and the fence must be new."""
        row = outcome.row
        assert (row.status, row.lease_until) == ("running", until)
        assert row.fence > self.fences.get(key, 0)
        assert self.live.get(key, 0.0) <= self.clock.now, "two owners at once"
        self.fences[key] = row.fence
        self.live[key] = until
        return key, row.fence

    def wrote(self, key, fence, done):
        """A write was confirmed: it must be the last owner's, and the job must not have ended."""
        if done:
            assert fence == self.fences[key], "a zombie wrote"
            assert key not in self.ended, "an ended job was written"

    @rule(seconds=st.sampled_from([0.5, 20.0, 60.0, 200.0]))
    def time_passes(self, seconds):
        self.clock.advance(seconds)

    @rule(key=keys)
    def a_caller_submits(self, key):
        existed = self.store.get(key)
        assert self.store.create(self.row(key)) == existed

    @rule(key=keys, delay=st.sampled_from([1.0, 120.0]))
    def the_broker_confirms(self, key, delay):
        before = self.store.get(key)
        done = self.store.sent(key, due_at=self.clock.now + delay)
        assert done is (before is not None and before.status == "queued")

    @rule(target=claims, key=keys, owner=owners)
    def a_delivery_arrives(self, key, owner):
        now, before = self.clock.now, self.store.get(key)
        outcome = self.store.claim(key, owner=owner, lease_until=now + LEASE_S, now=now)
        match outcome:
            case Claimed():
                return self.granted(key, outcome, now + LEASE_S)
            case Missing():
                assert before is None
            case Busy(until):
                assert before.lease_until == until > now
            case Finished(row):
                assert row == before
                assert row.status in TERMINAL or row.ttl_at <= now
            case Exhausted(row):
                assert row == before
                assert row.attempt == row.max_attempts
        return multiple()

    @rule(target=claims, key=keys, owner=owners)
    def a_delivery_arrives_and_its_owner_dies(self, key, owner):
        claim = self.a_delivery_arrives(key, owner)
        self.clock.advance(LEASE_S)
        return claim

    @rule(target=claims, key=keys, owner=owners)
    def a_dropped_message_arrives(self, key, owner):
        now, before = self.clock.now, self.store.get(key)
        until = now + LEASE_S
        outcome = self.store.admit(self.row(key, lease_owner=owner, lease_until=until))
        if isinstance(outcome, Exists):
            assert outcome.row == before
            return multiple()
        assert before is None
        return self.granted(key, outcome, until)

    @rule(claim=claims, seconds=st.sampled_from([1.0, 90.0]))
    def an_owner_extends(self, claim, seconds):
        key, fence = claim
        until = self.clock.now + seconds
        done = self.store.extend(key, fence=fence, lease_until=until)
        self.wrote(key, fence, done)
        if done:
            self.live[key] = until

    @rule(claim=claims, charged=st.booleans())
    def an_owner_hands_back(self, claim, charged):
        key, fence = claim
        before = self.store.get(key)
        done = self.store.release(key, fence=fence, now=self.clock.now, charged=charged)
        self.wrote(key, fence, done)
        if done:
            self.live[key] = 0.0
        if done and before.status == "running":
            assert self.store.get(key).attempt == before.attempt - (0 if charged else 1)

    @rule(claim=claims)
    def an_owner_publishes(self, claim):
        key, fence = claim
        mine = result_of(f"{key} {fence}".encode())
        already = key in self.published
        done = self.store.succeed(key, fence=fence, result=mine, facts=FACTS, now=self.clock.now)
        if done and already:
            assert self.published[key] == mine, "a result was published twice"
        elif done:
            self.wrote(key, fence, done)
            self.published[key] = mine

    @rule(claim=claims)
    def an_owner_reports_a_failure(self, claim):
        key, fence = claim
        before = self.store.get(key)
        done = self.store.fail(key, fence=fence, failure=FAILURE, facts=None, now=self.clock.now)
        if done and before.status == "failed":
            assert self.store.get(key) == before
        else:
            self.wrote(key, fence, done)

    @rule(key=keys)
    def a_caller_cancels(self, key):
        before = self.store.get(key)
        after = self.store.cancel(key, now=self.clock.now)
        assert (after is None) is (before is None)
        assert after is None or after.status in TERMINAL
        assert before is None or before.status not in TERMINAL or after == before

    @rule(target=seen, key=keys)
    def somebody_looks(self, key):
        row = self.store.get(key)
        return multiple() if row is None else row

    @rule(row=seen)
    def a_sweeper_postpones(self, row):
        self.store.postpone(row.key, due_at=self.clock.now + 60)

    @rule(key=keys)
    def a_sweeper_expires(self, key):
        now, before = self.clock.now, self.store.get(key)
        if self.store.expire(key, now=now) and before.status != "expired":
            assert (before.status, before.attempt) == ("queued", 0)
            assert before.ttl_at <= now

    @rule(key=keys)
    def a_sweeper_gives_up_on_what_it_sees(self, key):
        row = self.store.get(key)
        if row is not None:
            self.a_sweeper_gives_up_on_what_it_saw(row)

    @rule(row=seen)
    def a_sweeper_gives_up_on_what_it_saw(self, row):
        now, before = self.clock.now, self.store.get(row.key)
        done = self.store.exhaust(row, failure=FAILURE, now=now)
        if done and before.status != "failed":
            assert before.fence == row.fence, "somebody claimed it since"
            assert before.attempt == before.max_attempts
            assert self.live.get(row.key, 0.0) <= now, "a live lease was ended"

    @rule()
    def the_webhooks_queue_takes_an_event(self):
        for row in self.store.unsent(before=self.clock.now, limit=1):
            if row.webhook_unsent:
                self.store.webhook_sent(row.key)
                assert not self.store.get(row.key).webhook_unsent

    @rule()
    def everything_is_looked_through(self):
        rows = self.rows()
        listed = [row for tenant in ("acme", "zeta") for row in self.store.list(tenant).rows]
        assert sorted(row.key for row in listed) == sorted(rows)
        for row in self.store.unsent(before=self.clock.now + KEPT_S, limit=99):
            assert rows[row.key].unsent_at == row.unsent_at
            assert row.status == "queued" or row.webhook_unsent

    @invariant()
    def every_job_makes_sense_and_none_is_forgotten(self):
        rows = self.rows()
        for key, row in rows.items():
            self.makes_sense(row)
            self.never_changes_once_ended(key, row)
        assert self.ended.keys() <= rows.keys()
        due = self.store.due(now=self.clock.now + KEPT_S, limit=99)
        assert {row.key for row in due} == rows.keys() - self.ended.keys()

    def rows(self):
        found = {key: self.store.get(key) for key in KEYS}
        return {key: row for key, row in found.items() if row is not None}

    def makes_sense(self, row):
        assert 0 <= row.attempt <= row.max_attempts
        assert row.attempt <= row.fence == self.fences.get(row.key, 0)
        assert (row.status == "running") is (row.lease_owner is not None)
        assert (row.status == "running") is (row.lease_until > 0)

    def never_changes_once_ended(self, key, row):
        if row.status not in TERMINAL:
            assert key not in self.ended
            return
        fixed = replace(row, webhook_unsent=False, unsent_at=None)
        assert self.ended.setdefault(key, fixed) == fixed
        assert row.result == self.published.get(key)
        assert (row.result is not None) is (row.status == "succeeded")
        assert (row.failure is not None) is (row.status == "failed")


class MemoryMachine(JobStoreMachine):
    def open_store(self):
        return MemoryJobStore(clock=self.clock)


SETTINGS = settings(
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def test_the_invariants_hold_in_memory():
    run_state_machine_as_test(
        MemoryMachine, settings=settings(SETTINGS, max_examples=300, stateful_step_count=60)
    )


@pytest.mark.timeout(240)
def test_the_invariants_hold_on_dynamodb():
    with dynamodb_client() as client:

        class DynamoMachine(JobStoreMachine):
            def open_store(self):
                return self.opened.enter_context(dynamo_store(client, self.clock))

        run_state_machine_as_test(
            DynamoMachine, settings=settings(SETTINGS, max_examples=10, stateful_step_count=25)
        )
