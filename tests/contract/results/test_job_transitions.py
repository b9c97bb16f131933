"""What every job store must do: each write, when it is allowed and what it then changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.results.store import (
    Busy,
    Claimed,
    Exhausted,
    Exists,
    Finished,
    JobKey,
    Missing,
    Payload,
)
from tests.fixtures.job_rows import FACTS, FAILURE, START, new_row, result_of

NOBODY = JobKey("acme", "nobody")


def claim(store, row, *, owner="a", now=START, lasts=60.0):
    return store.claim(row.key, owner=owner, lease_until=now + lasts, now=now)


def test_a_created_row_is_read_back_whole(store):
    row = new_row(
        webhook="https://example.org/hook",
        result_alias="lake",
        retry_of="job-0",
        due_at=START + 120,
    )
    assert store.create(row) is None
    assert store.get(row.key) == replace(row, unsent_at=START)


def test_a_payload_on_s3_is_read_back_whole(store):
    row = new_row(input=Payload(size_bytes=9_000_000, sha256="ab" * 32, s3_key="inputs/acme/1"))
    store.create(row)
    assert store.get(row.key).input == row.input


def test_a_created_row_is_unsent_and_due_at_its_ttl(store):
    store.create(new_row())
    kept = store.get(new_row().key)
    assert (kept.unsent_at, kept.due_at) == (START, START + 600)


def test_creating_again_gives_the_row_that_is_there_and_changes_nothing(store):
    store.create(new_row())
    assert store.create(new_row(payload_digest="other")) == store.get(new_row().key)
    assert store.get(new_row().key).payload_digest == new_row().payload_digest


def test_creating_the_very_same_row_again_gives_the_row_that_is_there(store):
    assert store.create(new_row()) is None
    assert store.create(new_row()) is not None


def test_the_same_id_of_another_tenant_is_another_job(store):
    store.create(new_row("acme"))
    assert store.create(new_row("zeta")) is None


def test_inline_bytes_past_the_limit_are_refused(store):
    big = Payload(size_bytes=16_385, sha256="", inline=b"x" * 16_385)
    with pytest.raises(ValueError, match="S3 first"):
        store.create(new_row(input=big))
    assert store.get(new_row().key) is None


def test_a_row_with_everything_at_its_largest_is_kept(store):
    row = new_row(
        input=Payload(size_bytes=16_384, sha256="ab" * 32, inline=b"\xff" * 16_384),
        metadata={f"{n:064d}": "☃" * 512 for n in range(16)},
        webhook="https://example.org/" + "w" * 2028,
    )
    store.create(row)
    store.claim(row.key, owner="a", lease_until=START + 60, now=START)
    failure = replace(FAILURE, error="☃" * 1_000_000)
    assert store.fail(row.key, fence=1, failure=failure, facts=FACTS, now=START + 1)
    kept = store.get(row.key)
    assert kept.input == row.input
    assert len(kept.failure.error) == 4096


def test_a_sent_row_is_no_longer_unsent_and_is_due_as_told(store):
    store.create(new_row())
    assert store.sent(new_row().key, due_at=START + 120)
    kept = store.get(new_row().key)
    assert (kept.unsent_at, kept.due_at) == (None, START + 120)


def test_a_claim_takes_the_lease_and_charges_an_attempt(store):
    store.create(new_row())
    outcome = claim(store, new_row(), owner="a", now=START + 5)
    expected = replace(
        new_row(),
        status="running",
        attempt=1,
        fence=1,
        lease_owner="a",
        lease_until=START + 65,
        started_at=START + 5,
        due_at=START + 65,
    )
    assert outcome == Claimed(expected)
    assert store.get(new_row().key) == expected


def test_the_confirm_of_a_message_that_was_received_meanwhile_changes_nothing(store):
    store.create(new_row())
    claim(store, new_row())
    assert not store.sent(new_row().key, due_at=START + 9999)
    assert store.get(new_row().key).due_at == START + 60


def test_nobody_else_can_claim_a_live_lease(store):
    store.create(new_row())
    claim(store, new_row(), owner="a")
    assert claim(store, new_row(), owner="b", now=START + 59.999) == Busy(START + 60)


def test_the_owner_itself_cannot_claim_its_lease_again(store):
    store.create(new_row())
    claim(store, new_row(), owner="a")
    assert claim(store, new_row(), owner="a") == Busy(START + 60)


def test_a_lapsed_lease_can_be_claimed_under_a_new_fence(store):
    store.create(new_row())
    claim(store, new_row(), owner="a")
    outcome = claim(store, new_row(), owner="b", now=START + 60)
    assert (outcome.row.attempt, outcome.row.fence, outcome.row.lease_owner) == (2, 2, "b")


def test_a_job_without_attempts_left_is_exhausted(store):
    row = new_row(max_attempts=1)
    store.create(row)
    claim(store, row)
    outcome = claim(store, row, now=START + 60)
    assert outcome == Exhausted(store.get(row.key))


def test_a_charged_attempt_that_was_handed_back_is_exhausted_too(store):
    row = new_row(max_attempts=1)
    store.create(row)
    claim(store, row)
    store.release(row.key, fence=1, now=START + 1, charged=True)
    assert claim(store, row, now=START + 2) == Exhausted(store.get(row.key))


def test_an_unknown_job_is_missing(store):
    assert claim(store, replace(new_row(), key=NOBODY)) == Missing()


def test_a_job_whose_ttl_passed_before_it_ran_is_finished_and_still_queued(store):
    store.create(new_row())
    outcome = claim(store, new_row(), now=START + 600)
    assert outcome == Finished(store.get(new_row().key))
    assert outcome.row.status == "queued"


def test_a_job_that_ran_before_its_ttl_may_run_again_after_it(store):
    store.create(new_row())
    claim(store, new_row(), now=START + 599)
    assert isinstance(claim(store, new_row(), now=START + 700), Claimed)


def test_a_charged_attempt_that_was_handed_back_may_run_again_after_the_ttl(store):
    store.create(new_row())
    claim(store, new_row())
    store.release(new_row().key, fence=1, now=START + 1, charged=True)
    assert isinstance(claim(store, new_row(), now=START + 700), Claimed)


def test_an_attempt_that_was_not_charged_does_not_stop_the_ttl(store):
    store.create(new_row())
    claim(store, new_row())
    store.release(new_row().key, fence=1, now=START + 1)
    assert isinstance(claim(store, new_row(), now=START + 600), Finished)


def test_an_admitted_row_is_running_at_once(store):
    row = new_row(lease_owner="a", lease_until=START + 60)
    outcome = store.admit(row)
    assert isinstance(outcome, Claimed)
    assert outcome.row == store.get(row.key)
    kept = outcome.row
    assert (kept.status, kept.attempt, kept.fence, kept.due_at) == ("running", 1, 1, START + 60)
    assert kept.unsent_at is None


def test_a_row_can_be_admitted_once(store):
    row = new_row(lease_owner="a", lease_until=START + 60)
    store.admit(row)
    outcome = store.admit(replace(row, lease_owner="b", payload_digest="other"))
    assert outcome == Exists(store.get(row.key))
    assert outcome.row.lease_owner == "a"


def test_a_row_without_a_lease_is_not_admitted(store):
    with pytest.raises(ValueError, match="lease"):
        store.admit(new_row())


def test_an_extended_lease_is_due_later_and_keeps_others_out(store):
    store.create(new_row())
    claim(store, new_row())
    assert store.extend(new_row().key, fence=1, lease_until=START + 90)
    kept = store.get(new_row().key)
    assert (kept.lease_owner, kept.lease_until, kept.due_at) == ("a", START + 90, START + 90)
    assert claim(store, new_row(), owner="b", now=START + 61) == Busy(START + 90)


def test_a_released_job_is_queued_without_a_lease_and_costs_no_attempt(store):
    store.create(new_row())
    claim(store, new_row())
    assert store.release(new_row().key, fence=1, now=START + 1)
    kept = store.get(new_row().key)
    assert kept == replace(new_row(), fence=1, due_at=START + 901)


def test_a_charged_release_keeps_the_attempt_and_is_due_as_told(store):
    store.create(new_row())
    claim(store, new_row())
    assert store.release(new_row().key, fence=1, now=START + 1, charged=True, due_at=START + 30)
    kept = store.get(new_row().key)
    assert (kept.attempt, kept.status, kept.due_at) == (1, "queued", START + 30)


def test_a_release_gives_the_job_to_the_next_claim_at_once(store):
    store.create(new_row())
    claim(store, new_row())
    store.release(new_row().key, fence=1, now=START + 1)
    outcome = claim(store, new_row(), owner="b", now=START + 1)
    assert (outcome.row.attempt, outcome.row.fence) == (1, 2)


def test_a_published_result_is_read_back_whole(store):
    store.create(new_row())
    claim(store, new_row())
    result = result_of(b"\x00\x01binary")
    assert store.succeed(new_row().key, fence=1, result=result, facts=FACTS, now=START + 2)
    kept = store.get(new_row().key)
    assert (kept.status, kept.result, kept.facts, kept.failure) == (
        "succeeded",
        result,
        FACTS,
        None,
    )
    assert (kept.finished_at, kept.due_at, kept.unsent_at) == (START + 2, None, None)
    assert (kept.lease_owner, kept.lease_until) == (None, 0.0)


def test_a_result_past_the_inline_limit_is_refused_and_the_job_runs_on(store):
    store.create(new_row())
    claim(store, new_row())
    with pytest.raises(ValueError, match="S3 first"):
        store.succeed(
            new_row().key, fence=1, result=result_of(b"x" * 16_385), facts=FACTS, now=START
        )
    assert store.get(new_row().key).status == "running"


def test_an_empty_inline_result_stays_inline(store):
    store.create(new_row())
    claim(store, new_row())
    store.succeed(new_row().key, fence=1, result=result_of(b""), facts=FACTS, now=START + 2)
    assert store.get(new_row().key).result.payload.inline == b""


def test_a_failure_is_read_back_whole(store):
    store.create(new_row())
    claim(store, new_row())
    assert store.fail(new_row().key, fence=1, failure=FAILURE, facts=None, now=START + 2)
    kept = store.get(new_row().key)
    assert (kept.status, kept.failure, kept.facts, kept.result) == ("failed", FAILURE, None, None)
    assert (kept.finished_at, kept.due_at) == (START + 2, None)


def test_an_exhausted_job_is_ended_as_failed(store):
    row = new_row(max_attempts=1)
    store.create(row)
    claim(store, row)
    [seen] = store.due(now=START + 60, limit=10)
    assert store.exhaust(seen, failure=FAILURE, now=START + 60)
    kept = store.get(row.key)
    assert (kept.status, kept.failure, kept.due_at) == ("failed", FAILURE, None)


def test_a_queued_job_without_attempts_left_can_be_exhausted(store):
    row = new_row(max_attempts=1)
    store.create(row)
    claim(store, row)
    store.release(row.key, fence=1, now=START + 1, charged=True)
    assert store.exhaust(store.get(row.key), failure=FAILURE, now=START + 2)


def test_a_job_whose_last_lease_is_alive_is_not_exhausted(store):
    row = new_row(max_attempts=1)
    store.create(row)
    claim(store, row)
    assert not store.exhaust(store.get(row.key), failure=FAILURE, now=START + 59)
    assert store.get(row.key).status == "running"


def test_a_job_with_attempts_left_is_not_exhausted(store):
    store.create(new_row())
    claim(store, new_row())
    assert not store.exhaust(store.get(new_row().key), failure=FAILURE, now=START + 60)


def test_a_job_that_was_claimed_after_it_was_looked_at_is_not_exhausted(store):
    row = new_row(max_attempts=2)
    store.create(row)
    claim(store, row)
    seen = store.get(row.key)
    claim(store, row, owner="b", now=START + 60)
    assert not store.exhaust(seen, failure=FAILURE, now=START + 200)


@pytest.mark.parametrize("running", [False, True])
def test_an_open_job_is_canceled(store, running):
    store.create(new_row())
    if running:
        claim(store, new_row())
    canceled = store.cancel(new_row().key, now=START + 3)
    assert canceled == store.get(new_row().key)
    assert (canceled.status, canceled.finished_at) == ("canceled", START + 3)
    assert (canceled.due_at, canceled.unsent_at, canceled.lease_owner) == (None, None, None)


def test_canceling_an_ended_job_gives_it_as_it_is(store):
    store.create(new_row())
    claim(store, new_row())
    store.succeed(new_row().key, fence=1, result=result_of(), facts=FACTS, now=START + 2)
    before = store.get(new_row().key)
    assert store.cancel(new_row().key, now=START + 3) == before
    assert store.get(new_row().key) == before


def test_canceling_an_unknown_job_gives_nothing(store):
    assert store.cancel(NOBODY, now=START) is None


def test_a_queued_job_expires_when_its_ttl_passes_and_not_before(store):
    store.create(new_row())
    assert not store.expire(new_row().key, now=START + 599.999)
    assert store.expire(new_row().key, now=START + 600)
    kept = store.get(new_row().key)
    assert (kept.status, kept.finished_at, kept.due_at) == ("expired", START + 600, None)


def test_a_job_that_runs_or_ran_does_not_expire(store):
    store.create(new_row())
    claim(store, new_row())
    assert not store.expire(new_row().key, now=START + 600)
    store.release(new_row().key, fence=1, now=START + 1, charged=True)
    assert not store.expire(new_row().key, now=START + 600)


def test_a_postponed_row_is_due_later(store):
    store.create(new_row())
    store.postpone(new_row().key, due_at=START + 700)
    assert store.get(new_row().key).due_at == START + 700


ENDINGS = {
    "succeeded": lambda store, key: store.succeed(
        key, fence=1, result=result_of(), facts=FACTS, now=START + 2
    ),
    "failed": lambda store, key: store.fail(
        key, fence=1, failure=FAILURE, facts=FACTS, now=START + 2
    ),
    "canceled": lambda store, key: store.cancel(key, now=START + 2),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_changes_an_ended_job(store, ending):
    store.create(new_row(webhook="https://example.org/hook"))
    claim(store, new_row())
    ENDINGS[ending](store, new_row().key)
    ended = store.get(new_row().key)
    key, late = ended.key, START + 9999

    assert claim(store, ended, now=late) == Finished(ended)
    assert store.create(new_row()) == ended
    assert store.admit(new_row(lease_owner="b", lease_until=late)) == Exists(ended)
    assert not store.sent(key, due_at=late)
    assert not store.extend(key, fence=1, lease_until=late)
    assert not store.release(key, fence=1, now=late)
    assert not store.succeed(key, fence=1, result=result_of(b"late"), facts=FACTS, now=late)
    assert not store.fail(key, fence=1, failure=FAILURE, facts=None, now=late)
    assert not store.exhaust(ended, failure=FAILURE, now=late)
    assert store.cancel(key, now=late) == ended
    assert not store.expire(key, now=late)
    store.postpone(key, due_at=late)
    assert store.get(key) == ended


def test_every_write_to_an_unknown_job_is_refused(store):
    assert store.get(NOBODY) is None
    assert not store.sent(NOBODY, due_at=START)
    assert not store.extend(NOBODY, fence=1, lease_until=START)
    assert not store.release(NOBODY, fence=1, now=START)
    assert not store.succeed(NOBODY, fence=1, result=result_of(), facts=FACTS, now=START)
    assert not store.fail(NOBODY, fence=1, failure=FAILURE, facts=None, now=START)
    assert not store.exhaust(replace(new_row(), key=NOBODY), failure=FAILURE, now=START)
    assert not store.expire(NOBODY, now=START)
    store.webhook_sent(NOBODY)
    store.postpone(NOBODY, due_at=START)
    assert store.get(NOBODY) is None
