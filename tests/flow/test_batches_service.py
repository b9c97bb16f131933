"""Batches against the whole service in one process: over HTTP, from the shell, by an upload, by a schedule."""

from __future__ import annotations

import io
import json
import re
from urllib.parse import quote_plus
from uuid import uuid4

import httpx
import orjson
import pytest
from typer.testing import CliRunner

from cli.main import app
from shared.keys import create_key
from shared.queues.sqs import SqsQueue
from tests.fixtures.batch_desk import SCALE, line


@pytest.fixture
def service(laneway_service):
    laneway_service.run_jobs()  # what other tests left
    return laneway_service


def put(service, data, key="uploads/default/lines.jsonl"):
    service.resources.s3.put_object(Bucket=service.resources.bucket, Key=key, Body=data)
    return f"s3://{service.resources.bucket}/{key}"


def call(service, method, path, body=b"", status=200, **headers):
    answer = service.request(method, path, body=body, headers=headers)
    parsed = orjson.loads(answer.body)
    assert answer.status == status, parsed
    return parsed


def submit(service, data, status=202, headers=(), **members):
    body = {"endpoint": SCALE, "input": put(service, data), **members}
    return call(service, "POST", "/v2/batches", body, status, **dict(headers))


GOOD = b"\n".join(line(number) for number in range(30))


def test_a_batch_is_submitted_run_and_read_over_http(service):
    batch = submit(service, GOOD + b"\n{oops", metadata={"order": "42"})
    assert (batch["status"], batch["counts"]["total"]) == ("validating", 0)

    service.run_jobs()

    batch = call(service, "GET", f"/v2/batches/{batch['id']}")
    assert batch["status"] == "succeeded"
    assert batch["counts"] == {"total": 31, "succeeded": 30, "failed": 1}
    assert batch["metadata"] == {"order": "42"}
    lines = httpx.get(batch["files"]["output"]["url"]).text.splitlines()
    assert [json.loads(text)["custom_id"] for text in lines] == [f"row-{n}" for n in range(30)]
    errors = httpx.get(batch["files"]["errors"]["url"]).text.splitlines()
    assert json.loads(errors[0])["line"] == 31
    assert httpx.get(batch["files"]["manifest"]["url"]).json()["counts"] == batch["counts"]


def test_an_answer_in_a_batch_is_the_realtime_answer(service):
    body = orjson.loads(line(3))["body"]
    alone = call(service, "POST", SCALE, body)

    batch = submit(service, line(3))
    service.run_jobs()

    batch = call(service, "GET", f"/v2/batches/{batch['id']}")
    [text] = httpx.get(batch["files"]["output"]["url"]).text.splitlines()
    assert json.loads(text)["response"]["body"] == alone


def test_the_same_key_makes_one_batch(service):
    key = {"idempotency-key": "once"}

    first = submit(service, GOOD, headers=key)
    again = submit(service, GOOD, status=200, headers=key)
    other = submit(service, GOOD, status=409, headers=key, ttl_s=600)

    assert first["id"] == again["id"]
    assert other["code"] == "conflict"


@pytest.mark.parametrize(
    ("members", "status", "code", "field"),
    [
        ({"endpoint": "/v2/models/none/infer"}, 404, "model_not_found", None),
        ({"endpoint": "/v2/models/scale/versions/9/infer"}, 404, "version_not_found", None),
        ({"endpoint": "/v2/models/scale"}, 400, "invalid_request", "endpoint"),
        ({"input": "s3://elsewhere/lines"}, 400, "uri_not_allowed", "input_uri"),
        ({"window": "9-17"}, 400, "invalid_request", "window"),
        ({"not_before": "2030-01-01T00:00:00"}, 400, "invalid_request", None),
        ({"priority": "high"}, 400, "invalid_request", "priority"),
    ],
)
def test_a_batch_that_could_not_run_is_refused_at_once(service, members, status, code, field):
    refused = submit(service, GOOD, status=status, **members)

    assert refused["code"] == code
    if field:
        assert refused["field"] == field


def test_another_tenants_batch_looks_like_none(service):
    answer = call(service, "GET", "/v2/batches/none-of-yours", status=404)

    assert answer["code"] == "job_not_found"


def test_batches_are_listed_newest_first(service):
    ids = [submit(service, GOOD)["id"] for _ in range(3)]

    page = call(service, "GET", "/v2/batches")

    listed = [batch["id"] for batch in page["batches"]]
    assert [name for name in listed if name in ids] == ids[::-1]


def test_a_waiting_batch_is_canceled_over_http(service):
    batch = submit(service, GOOD, not_before="2100-01-01T00:00:00Z")
    service.run_jobs()
    assert call(service, "GET", f"/v2/batches/{batch['id']}")["status"] == "scheduled"

    canceled = call(service, "POST", f"/v2/batches/{batch['id']}/cancel")

    assert canceled["status"] == "canceled"


def test_an_upload_under_the_prefix_begins_a_batch_by_itself(service):
    key = "uploads/default/auto/scale/v-1/night+run.jsonl"
    put(service, GOOD, key)
    event = {
        "Records": [
            {
                "eventSource": "aws:s3",
                "eventName": "ObjectCreated:Put",
                "s3": {
                    "bucket": {"name": service.resources.bucket},
                    "object": {"key": quote_plus(key, safe="/"), "eTag": "e", "sequencer": "1"},
                },
            }
        ]
    }
    queue = SqsQueue(service.resources.sqs, url=service.resources.split_queue)
    for _ in range(2):  # S3 may tell it twice
        queue.send(json.dumps(event), tenant="default")

    service.run_jobs()

    started = [
        batch
        for batch in call(service, "GET", "/v2/batches")["batches"]
        if batch["input"].endswith("night+run.jsonl")
    ]
    assert [(batch["status"], batch["counts"]["succeeded"]) for batch in started] == [
        ("succeeded", 30)
    ]
    assert started[0]["version"] == "1"


@pytest.mark.parametrize(
    "message",
    [
        {"Event": "s3:TestEvent"},
        {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": {"key": "uploads/default/auto/scale/a+space"}}}]},
        {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": {"key": "uploads/default/other"}}}]},
        {"schema_version": 1, "recurring": {"tenant": "default", "id": "x", "submission": {}}},
        {"schema_version": 1, "recurring": {}},
        {"schema_version": 1},
        [],
    ],
)  # fmt: skip
def test_a_message_that_begins_nothing_does_not_come_again(service, message):
    queue = SqsQueue(service.resources.sqs, url=service.resources.split_queue)
    queue.send(json.dumps(message), tenant="default")

    service.run_jobs()

    assert queue.depth() == 0


def test_a_schedule_begins_a_batch_each_time_that_it_comes(service):
    queue = SqsQueue(service.resources.sqs, url=service.resources.split_queue)
    submission = {"endpoint": SCALE, "input": put(service, GOOD)}
    for execution in ("nightly-1", "nightly-1", "nightly-2"):
        message = {"tenant": "default", "id": execution, "submission": submission}
        queue.send(json.dumps({"schema_version": 1, "recurring": message}), tenant="default")

    service.run_jobs()

    statuses = [
        call(service, "GET", f"/v2/batches/{name}")["status"] for name in ("nightly-1", "nightly-2")
    ]
    assert statuses == ["succeeded", "succeeded"]


@pytest.fixture
def laneway(service, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LANEWAY_ENDPOINT", service.url)
    monkeypatch.setenv("LANEWAY_API_KEY", service.api_key)

    def run(*args):
        result = CliRunner().invoke(app, [str(arg) for arg in args])
        lines = io.StringIO(result.stdout).readlines()
        return result.exit_code, "".join(t for t in lines if not t.startswith("{")), result.stderr

    return run


def test_a_file_is_run_from_the_shell_with_a_bar_and_its_answers_are_written(
    service, laneway, tmp_path
):
    (tmp_path / "in.jsonl").write_bytes(GOOD)

    with service.working():
        code, out, err = laneway(
            "batches", "submit", "in.jsonl", "--model", "scale", "--version", "1",
            "--wait", "--output", "out.jsonl",
        )  # fmt: skip

    assert code == 0, err
    assert re.fullmatch(r"k-[0-9a-f]{40}\n", out)
    assert "30/30" in err
    assert "30 lines answered, 0 failed" in err
    assert len((tmp_path / "out.jsonl").read_bytes().splitlines()) == 30


def test_failed_lines_are_run_again_from_the_shell(service, laneway, tmp_path):
    (tmp_path / "in.jsonl").write_bytes(GOOD + b"\n{oops")
    with service.working():
        code, out, err = laneway(
            "batches", "submit", "in.jsonl", "--model", "scale", "--version", "1", "--wait"
        )
        batch_id = out.strip()
        again = laneway("batches", "retry", batch_id, "--wait")

    assert (code, again[0]) == (0, 0), (err, again)
    assert f"laneway batches retry {batch_id}" in err
    assert "0 lines answered, 1 failed" in again[2]

    code, _, err = laneway(
        "batches", "download", batch_id, "--file", "errors", "--output", "e.jsonl"
    )
    assert code == 0, err
    assert json.loads((tmp_path / "e.jsonl").read_text())["line"] == 31
    nothing = laneway("batches", "download", batch_id, "--file", "logs", "--output", "l")
    assert "use one of output, errors, refused, manifest" in nothing[2]


def test_a_batch_that_fails_says_why_and_exits_with_1(service, laneway, tmp_path):
    (tmp_path / "in.jsonl").write_bytes(b"\x1f\x8b\x08\x00")

    with service.working():
        code, _, err = laneway("batches", "submit", "in.jsonl", "--model", "scale", "--wait")

    assert code == 1
    assert "gzip" in err


def test_batches_are_listed_and_canceled_from_the_shell(service, laneway):
    batch = submit(service, GOOD, not_before="2100-01-01T00:00:00Z")

    canceled = laneway("batches", "cancel", batch["id"])
    listed = laneway("batches", "list", "--limit", 3)

    assert "is canceled" in canceled[2]
    assert batch["id"] in listed[1]


def test_files_of_a_batch_have_addresses_for_whoever_may_read_them_alone(service):
    """A batch is shown too by calls that need `submit`: when it is canceled, retried, or asked for twice."""
    tenant = f"files-{uuid4().hex[:8]}"
    scopes = (["submit:scale"], ["submit:scale", "read:scale"])
    keys = [create_key(service.keys, tenant=tenant, scopes=some)[0] for some in scopes]
    submitter, reader = [{"x-api-key": key, "idempotency-key": "nightly"} for key in keys]
    batch = {"endpoint": SCALE, "input": put(service, b"{}\n", f"uploads/{tenant}/lines")}
    made = service.request("POST", "/v2/batches", headers=submitter, body=batch).json()
    path = f"/v2/batches/{made['id']}"
    service.run_jobs()
    retried = service.request("POST", f"{path}/retry", headers=submitter).json()["id"]
    service.run_jobs()

    def addresses(headers):
        answers = [
            service.request("POST", "/v2/batches", headers=headers, body=batch),
            service.request("POST", f"{path}/cancel", headers=headers),
            service.request("POST", f"{path}/retry", headers=headers),
        ]
        assert {answer.status for answer in answers} == {200}
        assert answers[2].json()["id"] == retried
        return [answer.json()["files"]["errors"]["url"] for answer in answers]

    assert addresses(submitter) == [None] * 3
    assert all(url.startswith("http") for url in addresses(reader))
    assert service.request("GET", path, headers=submitter).status == 403
