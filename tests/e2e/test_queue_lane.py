"""Jobs and batches on the deployed service: over HTTP, and dropped on a queue with plain boto3."""

from __future__ import annotations

import json

import httpx
import pytest

from shared.inference.golden import GOLDEN_FILE, differences, read_cases
from tests.e2e.calls import TIMEOUT_S, aws_client, call, ended, upload
from tests.e2e.local_service import PROJECT, eventually

pytestmark = pytest.mark.deployed

MODEL = "breast-cancer"


@pytest.fixture(scope="module")
def case():
    return read_cases(PROJECT / "models" / MODEL / GOLDEN_FILE)[0]


@pytest.fixture(scope="module")
def sqs(service):
    return aws_client(service, "sqs")


def assert_golden(case, answer):
    outputs = {output["name"]: output for output in answer.json()["outputs"]}
    assert differences(case, outputs) == []


def infer(service, case, prefer):
    return call(
        service,
        "POST",
        f"/v2/models/{MODEL}/infer",
        json=case.request,
        headers={"prefer": prefer},
    )


@pytest.mark.parametrize("latency_class", ["async", "batch"])
def test_a_job_over_http_has_the_answer_of_the_original_library(service, case, latency_class):
    submission = {"model": MODEL, "latency_class": latency_class, "input": case.request}

    accepted = call(service, "POST", "/v2/jobs", json=submission)

    assert accepted.status_code == 202, accepted.text
    assert accepted.headers["location"].startswith(service.endpoint)
    job = accepted.json()["id"]
    assert ended(service, f"/v2/jobs/{job}")["status"] == "succeeded"
    result = call(service, "GET", f"/v2/jobs/{job}/result")
    assert result.status_code == 200
    assert_golden(case, result)


def test_a_message_dropped_with_plain_boto3_becomes_a_job(service, sqs, case):
    queue = service.facts["queues"]["async"]
    message = {"schema_version": 1, "id": "dropped", "model": MODEL, "input": case.request}

    sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(message))

    assert ended(service, "/v2/jobs/dropped")["status"] == "succeeded"
    service.wait_for(f"succeeded {MODEL}", timeout_s=TIMEOUT_S)
    service.wait_for("job dropped", timeout_s=TIMEOUT_S)
    assert_golden(case, call(service, "GET", "/v2/jobs/dropped/result"))


def test_a_message_that_cannot_be_read_is_put_aside_with_the_reason(service, sqs):
    queue = service.facts["queues"]["batch"]
    sqs.send_message(QueueUrl=queue, MessageBody="not a job")
    found = []

    def is_aside():
        answer = sqs.receive_message(
            QueueUrl=f"{queue}-dlq", MessageAttributeNames=["All"], WaitTimeSeconds=1
        )
        found.extend(answer.get("Messages", []))
        return bool(found)

    assert eventually(is_aside, timeout_s=TIMEOUT_S)
    assert found[0]["Body"] == "not a job"
    assert "JSON" in found[0]["MessageAttributes"]["reason"]["StringValue"]


def test_a_request_that_prefers_it_is_answered_later(service, case):
    accepted = infer(service, case, "respond-async")

    assert accepted.status_code == 202, accepted.text
    assert accepted.headers["preference-applied"] == "respond-async"
    job = httpx.get(accepted.headers["location"], headers=service.headers, timeout=TIMEOUT_S)
    assert ended(service, f"/v2/jobs/{job.json()['id']}")["status"] == "succeeded"


def test_a_request_that_waits_is_answered_on_the_spot_by_a_worker_that_is_up(service, case):
    answers = []

    def is_answered():
        answers.append(infer(service, case, "respond-async, wait=5"))
        assert answers[-1].status_code in (200, 202), answers[-1].text
        return answers[-1].status_code == 200

    assert eventually(is_answered, timeout_s=TIMEOUT_S)
    assert "wait=5" in answers[-1].headers["preference-applied"]
    assert_golden(case, answers[-1])


def test_an_input_too_large_for_a_row_goes_by_an_upload(service, case):
    place = call(service, "POST", "/v2/uploads", json={"max_bytes": 1_000_000}).json()
    upload(place, json.dumps(case.request).encode())

    accepted = call(
        service,
        "POST",
        "/v2/jobs",
        json={"model": MODEL, "latency_class": "async", "input_uri": place["uri"]},
    )

    assert accepted.status_code == 202, accepted.text
    job = accepted.json()["id"]
    assert ended(service, f"/v2/jobs/{job}")["status"] == "succeeded"
    assert_golden(case, call(service, "GET", f"/v2/jobs/{job}/result"))


def test_the_queues_bucket_and_tables_in_dev_json_are_there(service, sqs):
    facts = service.facts

    classes = {"async", "batch"}
    gpu = {f"heavy/{kind}{high}" for kind in classes for high in ("", "-high")}
    assert set(facts["queues"]) == classes | gpu
    assert facts["broker"] == {}
    for url in facts["queues"].values():
        assert sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    s3, tables = aws_client(service, "s3"), aws_client(service, "dynamodb")
    for bucket in facts["buckets"].values():
        s3.head_bucket(Bucket=bucket)
    for table in facts["tables"].values():
        assert tables.describe_table(TableName=table)["Table"]["TableStatus"] == "ACTIVE"


def lines(case):
    requests = [case.request, {"inputs": []}]
    return b"".join(
        json.dumps(
            {
                "custom_id": f"line-{number}",
                "method": "POST",
                "url": f"/v2/models/{MODEL}/infer",
                "body": request,
            }
        ).encode()
        + b"\n"
        for number, request in enumerate(requests)
    )


def assert_one_line_succeeded_and_one_failed(case, batch):
    assert (batch["status"], batch["counts"]) == (
        "succeeded",
        {"total": 2, "succeeded": 1, "failed": 1},
    )
    output = httpx.get(batch["files"]["output"]["url"], timeout=TIMEOUT_S)
    (line,) = [json.loads(text) for text in output.text.splitlines()]
    assert line["custom_id"] == "line-0"
    outputs = {item["name"]: item for item in line["response"]["body"]["outputs"]}
    assert differences(case, outputs) == []


def test_a_batch_is_split_run_and_joined_with_its_bad_line_apart(service, case):
    place = call(service, "POST", "/v2/uploads", json={"max_bytes": 1_000_000}).json()
    upload(place, lines(case))

    accepted = call(
        service,
        "POST",
        "/v2/batches",
        json={"endpoint": f"/v2/models/{MODEL}/infer", "input": place["uri"]},
    )

    assert accepted.status_code == 202, accepted.text
    batch = ended(service, f"/v2/batches/{accepted.json()['id']}")
    assert_one_line_succeeded_and_one_failed(case, batch)


def test_an_upload_below_auto_begins_a_batch_by_itself(service, case):
    (bucket,) = service.facts["buckets"].values()
    key = f"uploads/default/auto/{MODEL}/nightly.jsonl"
    begun = []

    aws_client(service, "s3").put_object(Bucket=bucket, Key=key, Body=lines(case))

    def has_begun():
        batches = call(service, "GET", "/v2/batches").json()["batches"]
        begun.extend(batch for batch in batches if batch["input"].endswith(key))
        return bool(begun)

    assert eventually(has_begun, timeout_s=TIMEOUT_S)
    batch = ended(service, f"/v2/batches/{begun[0]['id']}")
    assert_one_line_succeeded_and_one_failed(case, batch)
