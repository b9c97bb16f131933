"""A failed job's retry: what it takes over, and that it is made once."""

from dataclasses import replace

import pytest

from shared.errors import ConflictError, GoneError, JobNotFoundError, UnavailableError
from shared.jobs.messages import reference
from shared.jobs.retry import NotFailedError, Retries, retry_key
from shared.jobs.rules import JobRules
from shared.queues.memory import MemoryQueue
from shared.results.memory import MemoryJobStore
from shared.results.payloads import MemoryPayloadStore, claim_check
from shared.results.store import JobKey, Payload
from shared.settings.jobs import JobSettings
from tests.fixtures.job_rows import FAILURE, ManualClock, new_row

KEY = JobKey("acme", "job-1")
LATER_S = 7200


class Stage:
    def __init__(self):
        self.clock = ManualClock()
        self.store = MemoryJobStore(clock=self.clock)
        self.payloads = MemoryPayloadStore()
        self.queue = MemoryQueue(clock=self.clock)
        self.retries = self.retries_of({("shared", "async"): self.queue})

    def retries_of(self, queues):
        return Retries(
            store=self.store,
            payloads=self.payloads,
            queues=queues,
            rules=JobRules.of(JobSettings(stage="dev", bucket="memory")),
            clock=self.clock,
        )

    def has_failed(self, **members):
        """A job that ended as failed, two hours ago."""
        made = claim_check(self.payloads, b"{}", key="inputs/acme/job-1")
        row = new_row(**({"input": made} | members))
        self.store.create(row)
        now = self.clock()
        claim = self.store.claim(row.key, owner="w", lease_until=now + 9, now=now)
        fence = claim.row.fence
        self.store.fail(row.key, fence=fence, failure=FAILURE, facts=None, now=now)
        self.clock.advance(LATER_S)
        return self.store.get(row.key)


@pytest.fixture
def stage():
    return Stage()


def test_the_new_job_is_the_old_one_again_with_a_life_of_its_own(stage):
    old = stage.has_failed(webhook="https://example.com/hook", result_alias="lake")

    retried = stage.retries.retry(KEY)

    new = stage.store.get(retried.row.key)
    kept = ("model", "version", "pool", "latency_class", "webhook", "metadata", "result_alias")
    assert retried.created
    assert [getattr(new, name) for name in kept] == [getattr(old, name) for name in kept]
    assert (new.status, new.attempt, new.retry_of) == ("queued", 0, "job-1")
    assert (new.created_at, new.ttl_at) == (stage.clock(), stage.clock() + 600)
    assert new.input == old.input
    (delivery,) = stage.queue.receive(limit=10, wait_s=0)
    assert (delivery.body, delivery.tenant) == (reference(new.key), "acme")
    assert new.unsent_at is None
    assert stage.store.get(KEY) == old


def test_asked_twice_it_is_one_job_and_one_message(stage):
    stage.has_failed()

    first, again = stage.retries.retry(KEY), stage.retries.retry(KEY)

    assert again.row.key == first.row.key == retry_key(KEY)
    assert (first.created, again.created) == (True, False)
    assert stage.queue.depth() == 1


def test_a_large_input_is_the_new_jobs_own_object(stage):
    data = b"x" * 50_000
    old = stage.has_failed(input=claim_check(stage.payloads, data, key="inputs/acme/job-1"))

    new = stage.retries.retry(KEY).row
    stage.payloads.delete(old.input.s3_key)

    assert new.input.s3_key.startswith(f"inputs/acme/{new.key.id}/")
    assert stage.payloads.get(new.input.s3_key, max_bytes=len(data)) == data


def test_an_input_that_the_caller_named_stays_where_it_is(stage):
    named = Payload(size_bytes=0, sha256="", s3_key="s3://lake/in.json", header_length=3)
    stage.has_failed(input=named)

    assert stage.retries.retry(KEY).row.input == named


@pytest.mark.parametrize(
    "gone",
    [
        Payload(size_bytes=5, sha256="ab" * 32, s3_key="inputs/acme/job-1/ab"),
        Payload(size_bytes=0, sha256="", inline=b""),
    ],
)
def test_without_its_input_a_job_cannot_be_retried(stage, gone):
    stage.has_failed(input=gone)

    with pytest.raises(GoneError):
        stage.retries.retry(KEY)
    assert stage.store.get(retry_key(KEY)) is None


def test_any_other_job_is_left_alone(stage):
    stage.store.create(new_row())
    with pytest.raises(NotFailedError, match="queued"):
        stage.retries.retry(KEY)
    stage.store.cancel(KEY, now=stage.clock())
    with pytest.raises(NotFailedError, match="canceled"):
        stage.retries.retry(KEY)
    with pytest.raises(JobNotFoundError):
        stage.retries.retry(JobKey("other", "job-1"))
    assert stage.queue.depth() == 0


def test_an_id_that_somebody_took_is_not_mistaken_for_the_retry(stage):
    stage.has_failed()
    stage.store.create(replace(new_row(), key=retry_key(KEY)))

    with pytest.raises(ConflictError):
        stage.retries.retry(KEY)


def test_a_job_of_a_pool_that_is_gone_is_not_retried(stage):
    stage.has_failed()

    with pytest.raises(UnavailableError, match="'shared'"):
        stage.retries_of({}).retry(KEY)


def test_a_retry_that_fails_as_well_is_retried_by_its_own_id(stage):
    stage.has_failed()
    first = stage.retries.retry(KEY).row
    claim = stage.store.claim(
        first.key, owner="w", lease_until=stage.clock() + 9, now=stage.clock()
    )
    stage.store.fail(
        first.key, fence=claim.row.fence, failure=FAILURE, facts=None, now=stage.clock()
    )

    second = stage.retries.retry(first.key)

    assert second.created
    assert second.row.retry_of == first.key.id
    assert len({KEY, first.key, second.row.key}) == 3
