from __future__ import annotations

import json

import pytest

from shared.jobs.delivery import PoisonError
from shared.jobs.messages import event
from shared.jobs.webhook_event import EVENT_BYTES_MAX, event_body, event_id, read_event
from shared.results.memory import MemoryJobStore
from shared.results.rows import JobFailure, JobKey
from tests.fixtures.hook_desk import BASE_URL, CANARY, PUBLIC_URL, end_job
from tests.fixtures.job_rows import ManualClock


def ended(status="succeeded", job_id="job-1", **members):
    clock = ManualClock()
    store = MemoryJobStore(clock=clock)
    return end_job(store, clock(), job_id, url=PUBLIC_URL, status=status, **members)


@pytest.mark.parametrize("status", ["succeeded", "failed", "canceled", "expired"])
def test_an_event_holds_its_type_its_time_and_the_jobs_page(status):
    row = ended(status)
    told = json.loads(event_body(row, base_url=BASE_URL))
    assert told["type"] == f"job.{status}"
    assert told["timestamp"] == told["data"]["finished_at"]
    assert (told["data"]["id"], told["data"]["status"]) == ("job-1", status)
    assert told["data"]["urls"]["result"] == f"{BASE_URL}/v2/jobs/job-1/result"
    assert set(told) == {"type", "timestamp", "data"}


def test_an_event_holds_neither_result_nor_input_nor_url():
    body = event_body(ended(), base_url=BASE_URL)
    assert CANARY.encode() not in body
    assert PUBLIC_URL.encode() not in body


def test_a_failed_jobs_event_says_why():
    told = json.loads(event_body(ended("failed"), base_url=BASE_URL))
    assert told["data"]["error"] == {
        "error": "input 'x' has 3 columns",
        "code": "signature_mismatch",
        "field": "inputs[0].shape",
    }


def test_the_same_row_gives_the_same_bytes():
    row = ended()
    assert event_body(row, base_url=BASE_URL) == event_body(row, base_url=BASE_URL)


def test_an_id_holds_no_dot_and_tells_jobs_and_endings_apart():
    ids = {event_id(ended(status, job)) for status in ("failed", "expired") for job in ("a", "b-_")}
    assert ids == {"evt_a_failed", "evt_a_expired", "evt_b-__failed", "evt_b-__expired"}


def test_an_event_stays_thin_and_says_what_it_leaves_out():
    large = {f"key-{n}": "☃" * 512 for n in range(16)}
    failure = JobFailure(status_code=400, code="signature_mismatch", error="☃" * 4096)
    body = event_body(ended("failed", metadata=large, failure=failure), base_url=BASE_URL)
    assert len(body) <= EVENT_BYTES_MAX
    told = json.loads(body)
    assert told["left_out"] == ["data.metadata"]
    assert told["data"]["metadata"] == {}
    assert told["data"]["error"]["error"].endswith("…")


def test_what_a_worker_sends_is_read():
    assert read_event(event(JobKey("acme", "job-1"))) == JobKey("acme", "job-1")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "{}",
        "not json",
        '{"schema_version":2,"event":{"tenant":"a","id":"b"}}',
        '{"schema_version":1,"job":{"tenant":"a","id":"b"}}',
        '{"schema_version":1,"event":{"tenant":"a/b","id":"c"}}',
        '{"schema_version":1,"event":{"tenant":"a","id":"b"},"url":"https://x.example.com"}',
    ],
)
def test_anything_else_is_poison(body):
    with pytest.raises(PoisonError):
        read_event(body)
