"""What an operator does about jobs that failed and messages that were set aside, on the deployed service."""

from __future__ import annotations

import pytest

from shared.jobs.messages import event, reference
from shared.results.rows import JobKey
from tests.e2e.calls import TIMEOUT_S, aws_client, call, ended, upload
from tests.e2e.local_service import eventually

pytestmark = pytest.mark.deployed

MODEL = "breast-cancer"
ONE_ROW = {
    "inputs": [{"name": "features", "shape": [1, 30], "datatype": "FP32", "data": [1.0] * 30}]
}


@pytest.fixture(scope="module")
def sqs(service):
    return aws_client(service, "sqs")


@pytest.fixture
def failed(service):
    """A job whose input, once fetched, is not what the model takes."""
    return failed_job(service)


def failed_job(service):
    place = call(service, "POST", "/v2/uploads", json={"max_bytes": 10_000}).json()
    upload(place, b'{"inputs": []}')
    submission = {"model": MODEL, "latency_class": "async", "input_uri": place["uri"]}
    job = call(service, "POST", "/v2/jobs", json=submission).json()["id"]
    assert ended(service, f"/v2/jobs/{job}")["status"] == "failed"
    return job


@pytest.fixture
def succeeded(service):
    submission = {"model": MODEL, "latency_class": "async", "input": ONE_ROW}
    job = call(service, "POST", "/v2/jobs", json=submission).json()["id"]
    assert ended(service, f"/v2/jobs/{job}")["status"] == "succeeded"
    return job


def rows_of(result):
    assert result.returncode == 0, result.stderr
    return [line.split() for line in result.stdout.splitlines()]


def count(laneway, pool, kind):
    """Messages on a dead-letter queue, as `dlq list` tells."""
    [row] = [row for row in rows_of(laneway("dlq", "list")) if row[:2] == [pool, kind]]
    return int(row[2])


def test_a_failed_job_is_retried_as_a_new_one_that_names_it(laneway, service, failed):
    first, again = laneway("jobs", "retry", failed), laneway("jobs", "retry", failed)

    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    retried = first.stdout.strip()
    assert again.stdout.strip() == retried != failed
    assert "nothing was done" in again.stderr
    job = ended(service, f"/v2/jobs/{retried}")
    assert (job["retry_of"], job["status"]) == (failed, "failed")
    assert job["error"] == call(service, "GET", f"/v2/jobs/{failed}").json()["error"]


def test_a_job_that_succeeded_is_not_retried(laneway, succeeded):
    refused = laneway("jobs", "retry", succeeded)

    assert refused.returncode == 1
    assert "succeeded" in refused.stderr
    assert refused.stdout == ""


def test_poison_is_listed_shown_with_its_reason_and_taken_away_when_asked(laneway, service, sqs):
    before = count(laneway, "shared", "async")
    sqs.send_message(QueueUrl=service.facts["queues"]["async"], MessageBody="no job of anybody's")

    assert eventually(lambda: count(laneway, "shared", "async") == before + 1, timeout_s=TIMEOUT_S)
    named = ("--pool", "shared", "--class", "async")
    shown = laneway("dlq", "show", *named)
    left = laneway("dlq", "redrive", *named)
    deleted = laneway("dlq", "redrive", *named, "--delete")

    assert "no job of anybody's" in shown.stdout
    assert "not JSON" in " ".join(shown.stdout.split())
    assert ["left", "unreadable"] in [row[-3:-1] for row in rows_of(left)]
    assert ["deleted", "unreadable"] in [row[-3:-1] for row in rows_of(deleted)]
    assert count(laneway, "shared", "async") == 0


def test_redrive_makes_new_jobs_of_failed_ones_alone(laneway, service, sqs, failed, succeeded):
    other = failed_job(service)
    for job in (failed, other, succeeded):
        sqs.send_message(
            QueueUrl=f"{service.facts['queues']['batch']}-dlq",
            MessageBody=reference(JobKey("default", job)),
        )
    named = ("--pool", "shared", "--class", "batch")

    shown = laneway("dlq", "show", *named)
    redriven = laneway("dlq", "redrive", *named)
    emptied = laneway("dlq", "redrive", *named, "--delete")

    assert all(f"default/{job}" in shown.stdout for job in (failed, other, succeeded))
    assert emptied.returncode == 0, emptied.stderr
    assert count(laneway, "shared", "batch") == 0
    told = [row[-3:] for row in rows_of(redriven)]
    assert ["redriven", "failed", "2"] in told
    assert ["left", "ended", "1"] in told
    jobs = call(service, "GET", "/v2/jobs?limit=100").json()["jobs"]
    made = [job for job in jobs if job.get("retry_of") in {failed, other, succeeded}]
    assert sorted(job["retry_of"] for job in made) == sorted([failed, other])
    for job in made:
        assert ended(service, f"/v2/jobs/{job['id']}")["status"] == "failed"


def test_an_event_that_cannot_be_sent_is_shown_with_the_reason(laneway, service, sqs, succeeded):
    queue = service.facts["queues"]["async"].replace("-shared-async", "-webhooks")
    sqs.send_message(QueueUrl=queue, MessageBody=event(JobKey("default", succeeded)))

    assert eventually(lambda: count(laneway, "-", "webhooks") == 1, timeout_s=TIMEOUT_S)
    shown = laneway("dlq", "show", "--class", "webhooks")
    left = laneway("dlq", "redrive", "--class", "webhooks")

    assert f"default/{succeeded}" in shown.stdout
    assert "asks for no event" in " ".join(shown.stdout.split())
    assert ["left", "open", "1"] in [row[-3:] for row in rows_of(left)]
