"""The client's calls about jobs against a real HTTP server: what is sent, to whom, and how often."""

import asyncio
import base64
import json
import time

import numpy as np
import pytest

from cli.client import (
    AsyncLaneway,
    InputError,
    InternalError,
    JobError,
    Laneway,
    NotFinishedError,
    NotFoundError,
    ProtocolError,
    RetryPolicy,
    StatusError,
    StoredInput,
    UnavailableError,
)
from tests.unit.client.recording_server import Answer, json_answer, recording_server
from tests.unit.client.test_client_infer import ANSWER

KEY = "lw_secret"
X = np.zeros((1, 4), np.float32)
JOB = {
    "id": "j1",
    "status": "queued",
    "model": "iris",
    "version": "1",
    "latency_class": "async",
    "attempt": 0,
    "max_attempts": 3,
    "created_at": "2026-11-22T00:00:00.000+00:00",
    "expires_at": "2026-11-22T06:00:00.000+00:00",
}


@pytest.fixture
def storage():
    """Stands where S3 is: another origin."""
    with recording_server() as running:
        yield running


@pytest.fixture
def client(server):
    retry = RetryPolicy(max_retries=2, base_s=0.001)
    with Laneway(server.endpoint, api_key=KEY, retry=retry) as opened:
        yield opened


def ended(**members):
    return json_answer(JOB | {"status": "succeeded", "attempt": 1} | members)


def test_a_submission_says_what_it_was_told_and_leaves_the_rest_to_the_stage(server, client):
    server.will_answer(json_answer(JOB, 202))

    client.submit("iris", {"x": X}, binary=False, ttl_s=90, metadata={"a": "b"}, webhook=None)

    (call,) = server.received
    sent = json.loads(call.body)
    assert (call.method, call.path) == ("POST", "/v2/jobs")
    assert sent.pop("input")["inputs"][0]["data"] == [0.0] * 4
    assert sent == {"model": "iris", "ttl_s": 90, "metadata": {"a": "b"}}


def test_packed_tensors_travel_as_base64_with_the_length_of_their_header(server, client):
    server.will_answer(json_answer(JOB, 202))

    client.submit("iris", {"x": X + 1})

    sent = json.loads(server.received[0].body)
    body = base64.b64decode(sent["input_base64"])
    assert json.loads(body[: sent["header_length"]])["inputs"][0]["name"] == "x"
    assert body[sent["header_length"] :] == (X + 1).tobytes()


def test_a_submission_that_is_sent_again_carries_the_same_key(server, client):
    refusal = json_answer({"message": "Service Unavailable"}, 503)
    server.will_answer(refusal, refusal, json_answer(JOB, 202))

    client.submit("iris", {"x": X})
    client.submit("iris", {"x": X})

    keys = [call.headers["idempotency-key"] for call in server.received]
    assert keys[0] == keys[1] == keys[2] != keys[3]


def test_an_id_of_ones_own_is_put_and_quoted(server, client):
    server.will_answer(json_answer(JOB, 202))

    client.submit("iris", StoredInput("s3://b/k", 12), id="a/b")

    (call,) = server.received
    assert (call.method, call.path) == ("PUT", "/v2/jobs/a%2Fb")
    assert "idempotency-key" not in call.headers
    assert json.loads(call.body) == {"model": "iris", "input_uri": "s3://b/k", "header_length": 12}


def test_a_large_result_is_fetched_from_where_it_lies_without_the_key(server, storage, client):
    place = f"{storage.endpoint}/bucket/results/j1?X-Amz-Signature=abc"
    server.will_answer(Answer(307, b"", {"location": place, "x-other": "1"}))
    storage.will_answer(json_answer(ANSWER))

    result = client.result("j1")

    (fetched,) = storage.received
    assert result["y"].tolist() == [0, 2]
    assert (fetched.method, fetched.path) == ("GET", "/bucket/results/j1?X-Amz-Signature=abc")
    assert server.received[0].headers["x-api-key"] == KEY
    assert KEY not in str(fetched.headers)
    assert "authorization" not in fetched.headers


def test_a_large_binary_result_is_read_by_the_header_length_of_the_redirect(
    server, storage, client
):
    header = {"model_name": "m", "outputs": [{
        "name": "y", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8},
    }]}  # fmt: skip
    text = json.dumps(header).encode()
    headers = {
        "location": f"{storage.endpoint}/r",
        "Inference-Header-Content-Length": str(len(text)),
    }
    server.will_answer(Answer(307, b"", headers))
    storage.will_answer(Answer(200, text + np.array([1, 2], np.float32).tobytes()))

    assert client.result("j1")["y"].tolist() == [1, 2]


def test_only_a_results_call_follows_a_redirect(server, storage, client):
    server.will_answer(Answer(307, b"", {"location": storage.endpoint}))

    with pytest.raises(StatusError):
        client.job("j1")
    assert storage.received == []


def test_an_upload_is_a_form_with_the_file_last_and_without_the_key(
    server, storage, client, tmp_path
):
    place = {"uri": "s3://b/uploads/t/1", "url": f"{storage.endpoint}/b", "fields": {"policy": "p"}}
    server.will_answer(json_answer(place, 201))
    storage.will_answer(Answer(204, b""))
    (tmp_path / "data.bin").write_bytes(b"\x00\xff" * 50)

    uris = [client.upload(tmp_path / "data.bin"), client.upload(b"\x00\xff" * 50)]

    assert uris == ["s3://b/uploads/t/1"] * 2
    assert json.loads(server.received[0].body) == {"max_bytes": 100}
    for call in storage.received:
        assert KEY not in str(call.headers)
        assert call.body.index(b'name="policy"') < call.body.index(b'name="file"')
        assert b"\x00\xff" * 50 in call.body


def test_what_s3_refuses_is_told_in_its_words_and_a_hiccup_is_tried_again(server, storage, client):
    place = {"uri": "s3://b/k", "url": f"{storage.endpoint}/b?secret=1", "fields": {}}
    server.will_answer(json_answer(place, 201))
    refused = Answer(403, b"<Error><Code>AccessDenied</Code></Error>")
    storage.will_answer(Answer(503, b"<Error><Code>SlowDown</Code></Error>"), refused)

    with pytest.raises(StatusError, match="AccessDenied") as caught:
        client.upload(b"x")

    assert len(storage.received) == 2
    assert "secret" not in str(caught.value)


def test_a_file_that_is_not_there_is_said_before_anything_is_sent(server, client, tmp_path):
    with pytest.raises(InputError, match=r"absent\.bin"):
        client.upload(tmp_path / "absent.bin")
    assert server.received == []


def test_an_unfinished_job_is_told_at_once_and_a_busy_service_is_asked_again(server, client):
    unfinished = json_answer({"error": "running", "code": "not_finished"}, 409, Retry_After="5")
    busy = json_answer({"error": "later", "code": "store_unavailable"}, 503)
    server.will_answer(busy, unfinished)

    with pytest.raises(NotFinishedError):
        client.result("j1")
    assert len(server.received) == 2


def test_a_failed_job_is_the_error_that_its_answer_holds(server, client):
    server.will_answer(json_answer({"error": "it broke", "code": "transform_failed"}, 500))

    with pytest.raises(InternalError, match="it broke") as caught:
        client.result("j1")
    assert caught.value.code == "transform_failed"


def test_a_wait_never_looks_again_before_it_is_told_to(server, client):
    server.will_answer(json_answer(JOB, Retry_After="1"), ended())

    began = time.monotonic()
    job = client.wait("j1")

    assert time.monotonic() - began >= 1
    assert job.status == "succeeded"
    assert [call.path for call in server.received] == ["/v2/jobs/j1"] * 2


def test_a_wait_gives_up_when_the_service_does_and_not_for_a_failed_job(server, client):
    failure = {"error": "bad", "code": "model_run_failed"}
    server.will_answer(
        ended(status="failed", error=failure, metrics={"run_ms": 2.5}),
        json_answer({"message": "Service Unavailable"}, 503),
    )

    job = client.wait("j1")

    assert job.error == JobError("model_run_failed", "bad")
    assert (job.run_ms, job.rows_stacked) == (2.5, None)
    with pytest.raises(UnavailableError):
        client.wait("j1")


def test_an_unknown_job_is_waited_for_only_where_it_may_appear(server, client):
    unknown = json_answer({"error": "no such job", "code": "job_not_found"}, 404)
    server.will_answer(unknown, unknown, ended(), unknown)

    with pytest.raises(NotFoundError):
        client.wait("j1")
    assert client.wait("j1", may_appear=True).status == "succeeded"
    with pytest.raises(NotFoundError):
        client.wait("j1", timeout_s=0.05, may_appear=True)


def test_pages_are_asked_for_as_they_are_reached(server, client):
    pages = [{"jobs": [JOB | {"id": "a"}], "cursor": "c/1"}, {"jobs": [JOB | {"id": "b"}]}]
    server.will_answer(*map(json_answer, pages))

    jobs = client.jobs(status="queued", model="iris")
    first = next(jobs)
    asked_for_one = len(server.received)
    rest = list(jobs)

    assert (first.id, asked_for_one, [job.id for job in rest]) == ("a", 1, ["b"])
    assert [call.path for call in server.received] == [
        "/v2/jobs?status=queued&model=iris",
        "/v2/jobs?status=queued&model=iris&cursor=c%2F1",
    ]


@pytest.mark.parametrize(
    "body", [{}, {"id": 1}, JOB | {"attempt": "many"}, JOB | {"error": "text"}]
)
def test_an_answer_that_is_no_job_is_a_protocol_error(server, client, body):
    server.will_answer(json_answer(body))

    with pytest.raises(ProtocolError):
        client.job("j1")


def test_the_asyncio_client_keeps_the_key_from_storage_as_well(server, storage):
    place = {"uri": "s3://b/k", "url": f"{storage.endpoint}/b", "fields": {"policy": "p"}}
    server.on("/v2/uploads", json_answer(place, 201))
    server.on("/v2/jobs/j1/result", Answer(307, b"", {"location": f"{storage.endpoint}/r"}))
    storage.on("/b", Answer(204, b""))
    storage.on("/r", json_answer(ANSWER))

    async def calls():
        async with AsyncLaneway(server.endpoint, api_key=KEY) as client:
            return await client.upload(b"abc"), (await client.result("j1"))["y"].tolist()

    assert asyncio.run(calls()) == ("s3://b/k", [0, 2])
    assert len(storage.received) == 2
    assert KEY not in str([call.headers for call in storage.received])
