"""What a caller of jobs sees when something below is gone, when many ask at once, and in the log."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest

from cli.testing import start_service
from shared.jobs.clock import system_clock
from shared.results.dynamodb import DynamoJobStore
from tests.fixtures.brokered import CarriedService, start_carried_service

pytestmark = pytest.mark.rabbitmq

X = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}
JOB = {"model": "scale", "input": {"inputs": [X]}}
LARGE = {
    "model": "scale",
    "input": {"inputs": [{**X, "shape": [4000, 2], "data": [1.25, 2.5] * 4000}]},
}
CANARY = "canary-in-the-job"


@pytest.fixture(params=["sqs", "rabbitmq"])
def service(request, small_models, tmp_path):
    """One of its own, of which a test may take parts away."""
    if request.param == "sqs":
        started = start_service(small_models)
    else:
        url = request.getfixturevalue("rabbitmq").url
        started = start_carried_service(small_models, url, tmp_path)
    with started as service:
        yield service


def lose_broker(service):
    if isinstance(service, CarriedService):
        service.lose_broker()
    else:
        url = service.resources.queues["shared"]["async"]
        service.resources.sqs.delete_queue(QueueUrl=url)


def store(service):
    return DynamoJobStore(
        service.resources.dynamodb, table=service.resources.jobs_table, clock=system_clock
    )


def test_fifty_posts_at_once_with_one_key_make_one_job_and_one_message(service):
    start = threading.Barrier(50)

    def post(_):
        start.wait(timeout=30)
        return service.request(
            "POST", "/v2/jobs", body=JOB, headers={"idempotency-key": "one-order"}
        )

    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(post, range(50)))
    assert sorted({answer.status for answer in answers}) == [200, 202]
    assert [answer.status for answer in answers].count(202) == 1
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(service.request("GET", "/v2/jobs").json()["jobs"]) == 1
    assert service.run_jobs() == 1


def test_without_the_broker_a_job_is_accepted_and_waits_in_the_outbox(service):
    lose_broker(service)
    answer = service.request("POST", "/v2/jobs", body=JOB)
    assert answer.status == 202
    [row] = store(service).unsent(before=system_clock() + 1, limit=10)
    assert row.key.id == answer.json()["id"]
    assert service.request("GET", answer.headers["location"]).json()["status"] == "queued"


@pytest.mark.parametrize("job", [JOB, LARGE], ids=["small", "large"])
def test_without_the_table_there_is_no_job_and_the_answer_is_503(service, job):
    service.resources.dynamodb.delete_table(TableName=service.resources.jobs_table)
    answer = service.request("PUT", "/v2/jobs/a", body=job)
    assert (answer.status, answer.json()["code"]) == (503, "store_unavailable")
    assert answer.headers["retry-after"] == "1"
    assert service.run_jobs() == 0


def test_without_the_bucket_a_large_job_is_503_and_a_small_one_is_accepted(service):
    service.resources.s3.delete_bucket(Bucket=service.resources.bucket)
    refused = service.request("PUT", "/v2/jobs/large", body=LARGE)
    assert (refused.status, refused.json()["code"]) == (503, "store_unavailable")
    assert service.request("GET", "/v2/jobs/large").status == 404
    assert service.request("PUT", "/v2/jobs/small", body=JOB).status == 202


def test_nothing_that_a_caller_sends_with_a_job_is_logged(service, capsys):
    capsys.readouterr()
    text = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [CANARY]}
    good = {
        "model": "shout",
        "input": {"inputs": [text]},
        "metadata": {"note": CANARY},
        "webhook": f"https://example.org/{CANARY}",
    }
    for job in (
        good,
        good | {"metadata": {"note": [CANARY]}},
        good | {CANARY: 1},
        good | {"input": CANARY},
        good | {"input": {"inputs": [{**text, "name": CANARY}]}},
        {"model": "shout", "input_uri": f"s3://elsewhere/{CANARY}"},
        {"model": CANARY, "input": {}},
    ):
        service.request(
            "POST",
            "/v2/jobs",
            body=job,
            headers={"idempotency-key": json.dumps(CANARY + str(len(str(job))))},
        )
    service.request(
        "POST",
        "/v2/models/shout/infer",
        body={"inputs": [text]},
        headers={"prefer": "respond-async, wait=1"},
    )
    service.request("GET", f"/v2/jobs/{CANARY}")
    service.request("GET", f"/v2/jobs?cursor={CANARY}")
    assert service.run_jobs() == 2
    logged = "".join(capsys.readouterr())
    assert [orjson.loads(line) for line in logged.splitlines() if line.startswith("{")]
    assert CANARY not in logged
    assert service.api_key not in logged
