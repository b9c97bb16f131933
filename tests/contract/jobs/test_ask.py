"""What an accepted job answers in each of its states, with each store; no broker has a part in it."""

from __future__ import annotations

import hashlib
import json

import pytest

from shared.errors import GoneError, JobNotFoundError, NotFinishedError, StoreUnavailableError
from shared.jobs.ask import AcceptedJobs, Answer, Elsewhere
from shared.jobs.page import job_page
from shared.jobs.submission import Submission
from shared.results.payloads import claim_check
from shared.results.rows import JobFailure, JobKey, JobResult, Payload, RunFacts

pytestmark = pytest.mark.parametrize("house", ["memory", "aws"], indirect=True)

BODY = json.dumps(
    {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}]}
).encode()
FACTS = RunFacts(queue_ms=5.0, run_ms=1.5, rows_stacked=2)
JSON = {"content-type": "application/json"}


@pytest.fixture
def row(house):
    return house.jobs.submit(Submission(model="scale", body=BODY), tenant="acme", job_id="a").row


def claim(house, row):
    now = house.clock.now
    return house.store.claim(row.key, owner="w", lease_until=now + 60, now=now).row


def succeed(house, row, payload):
    house.clock.now += 1
    claimed = claim(house, row)
    result = JobResult(status_code=200, headers=JSON, payload=payload)
    assert house.store.succeed(
        row.key, fence=claimed.fence, result=result, facts=FACTS, now=house.clock.now
    )
    return house.accepted.get(row.key)


def small(body):
    return Payload(size_bytes=len(body), sha256=hashlib.sha256(body).hexdigest(), inline=body)


def test_a_job_that_waits_or_runs_has_no_result_yet(house, row):
    with pytest.raises(NotFinishedError):
        house.accepted.result(row)
    with pytest.raises(NotFinishedError):
        house.accepted.result(claim(house, row))


def test_a_result_is_the_answer_byte_for_byte(house, row):
    ended = succeed(house, row, small(b'{"a":1}'))
    assert house.accepted.result(ended) == Answer(200, JSON, b'{"a":1}')


def test_a_result_on_s3_is_read(house, row):
    body = b"x" * 100_000
    ended = succeed(house, row, claim_check(house.payloads, body, key="results/acme/a/1"))
    assert house.accepted.result(ended).body == body


def test_a_large_result_is_fetched_from_s3(house, row):
    body = b"x" * 1_100_000
    ended = succeed(house, row, claim_check(house.payloads, body, key="results/acme/a/1"))
    found = house.accepted.result(ended)
    assert isinstance(found, Elsewhere)
    assert ended.result.payload.s3_key in found.url
    assert found.headers == JSON


def test_a_result_that_was_removed_is_gone(house, row):
    ended = succeed(house, row, claim_check(house.payloads, b"x" * 50_000, key="results/acme/a/1"))
    house.payloads.delete(ended.result.payload.s3_key)
    with pytest.raises(GoneError):
        house.accepted.result(ended)


def test_a_canceled_job_has_no_result_and_is_canceled_once(house, row):
    canceled = house.accepted.cancel(row.key)
    assert canceled.status == "canceled"
    house.clock.now += 5
    assert house.accepted.cancel(row.key).finished_at == canceled.finished_at
    with pytest.raises(GoneError, match="canceled"):
        house.accepted.result(canceled)


def test_cancelling_a_job_that_ended_changes_nothing(house, row):
    ended = succeed(house, row, small(b"{}"))
    assert house.accepted.cancel(row.key) == ended


def test_an_expired_job_has_no_result(house, row):
    house.clock.now = row.ttl_at + 1
    assert house.store.expire(row.key, now=house.clock.now)
    with pytest.raises(GoneError, match="expired"):
        house.accepted.result(house.accepted.get(row.key))


@pytest.mark.parametrize("call", ["get", "cancel"])
def test_a_job_of_another_tenant_is_met_as_one_that_does_not_exist(house, row, call):
    messages = []
    for key in (JobKey("other", row.key.id), JobKey("acme", "absent")):
        with pytest.raises(JobNotFoundError) as refused:
            getattr(house.accepted, call)(key)
        messages.append(refused.value.message.replace(repr(key.id), "ID"))
    assert messages[0] == messages[1]


def test_waiting_ends_with_the_job(house, row):
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        house.clock.now += seconds
        if len(pauses) == 3:
            succeed(house, row, small(b"{}"))

    waiting = AcceptedJobs(
        store=house.store, payloads=house.payloads, clock=house.clock, sleep=sleep
    )
    assert waiting.wait(row, wait_s=20).status == "succeeded"
    assert len(pauses) == 3


def test_waiting_ends_with_the_time(house, row):
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        house.clock.now += seconds

    waiting = AcceptedJobs(
        store=house.store, payloads=house.payloads, clock=house.clock, sleep=sleep
    )
    assert waiting.wait(row, wait_s=5).status == "queued"
    assert sum(pauses) == pytest.approx(5)
    assert waiting.wait(row, wait_s=0) is row


def test_a_store_that_does_not_answer_ends_no_wait(house, row):
    class Flickers:
        def __init__(self, store):
            self.store, self.asked = store, 0

        def get(self, key):
            self.asked += 1
            if self.asked < 3:
                raise StoreUnavailableError("throttled")
            succeed(house, row, small(b"{}"))
            return self.store.get(key)

    def sleep(seconds):
        house.clock.now += seconds

    waiting = AcceptedJobs(
        store=Flickers(house.store), payloads=house.payloads, clock=house.clock, sleep=sleep
    )
    assert waiting.wait(row, wait_s=20).status == "succeeded"


def test_a_page_tells_times_facts_and_addresses(house, row):
    page = job_page(succeed(house, row, small(b"{}")), base_url="https://api.example.org/dev/")
    assert page.created_at == "2026-09-21T14:13:20.000+00:00"
    assert page.finished_at == "2026-09-21T14:13:21.000+00:00"
    assert (page.metrics.queue_ms, page.metrics.run_ms, page.metrics.rows_stacked) == (5, 1.5, 2)
    assert page.urls.result == "https://api.example.org/dev/v2/jobs/a/result"


def test_a_page_tells_why_a_job_failed(house, row):
    claimed = claim(house, row)
    failure = JobFailure(status_code=400, code="non_finite_input", error="NaN came")
    house.store.fail(row.key, fence=claimed.fence, failure=failure, facts=None, now=house.clock.now)
    page = job_page(house.accepted.get(row.key), base_url="")
    assert (page.status, page.error.code, page.error.error) == (
        "failed",
        "non_finite_input",
        "NaN came",
    )
    assert page.urls.self == "/v2/jobs/a"
