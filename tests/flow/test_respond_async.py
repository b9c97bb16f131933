"""`Prefer: respond-async` on an inference call: handed to ingress, a job, or the very answer."""

from __future__ import annotations

import gzip
import json

import pytest
from onnx import helper

from cli.testing import start_service
from tests.fixtures.small_models import write_model

pytestmark = pytest.mark.rabbitmq

X = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}
GOOD = {"id": "mine", "inputs": [X]}
INFER = "/v2/models/scale/infer"
ASYNC = {"prefer": "respond-async"}


@pytest.fixture
def service(service_of_either_broker):
    service_of_either_broker.run_jobs()  # what other tests left
    return service_of_either_broker


def ask(service, path=INFER, body=GOOD, **headers):
    return service.request("POST", path, body=body, headers=ASYNC | headers)


def test_a_job_is_made_and_answers_what_the_call_would_have(service):
    accepted = ask(service)
    assert accepted.status == 202
    assert accepted.headers["preference-applied"] == "respond-async"
    assert accepted.headers["location"] == f"/v2/jobs/{accepted.json()['id']}"
    assert accepted.headers["retry-after"] == "1"
    assert accepted.json()["latency_class"] == "async"
    service.run_jobs()
    answer = service.request("GET", f"{accepted.headers['location']}/result")
    assert answer.body == service.request("POST", INFER, body=GOOD).body


def test_a_version_in_the_address_is_the_jobs(service):
    accepted = ask(service, "/v2/models/scale/versions/1/infer")
    assert accepted.json()["version"] == "1"


def test_the_very_answer_comes_if_it_is_done_in_time(service):
    with service.working():
        answer = ask(service, "/v2/models/queued/infer", prefer="respond-async, wait=10")
    assert answer.status == 200
    assert answer.headers["preference-applied"] == "respond-async, wait=10"
    assert answer.json()["model_name"] == "queued"
    assert answer.json()["id"] == "mine"


def test_a_failure_in_time_has_the_status_of_the_failure(service):
    text = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [""]}]}
    # The trailing slash goes to ingress at once: the pool's functions end after 2 s here.
    with service.working():
        answer = ask(service, "/v2/models/shout/infer/", body=text, prefer="respond-async, wait=20")
    assert (answer.status, answer.json()["code"]) == (400, "transform_refused")


def test_a_wait_is_bounded_by_what_the_function_that_was_asked_can_still_wait(service):
    # The pool's functions end after 2 s here.
    answer = ask(service, prefer="respond-async, wait=600")
    assert answer.status == 202
    applied = answer.headers["preference-applied"]
    assert applied in {"respond-async, wait=0", "respond-async, wait=1"}


def test_a_wait_is_bounded_by_twenty_seconds_however_much_is_asked(service):
    with service.working():
        answer = ask(service, "/v2/models/queued/infer", prefer="respond-async, wait=600")
    assert answer.status == 200
    assert answer.headers["preference-applied"] == "respond-async, wait=20"


def binary():
    tensor = {**X, "parameters": {"binary_data_size": 8}}
    del tensor["data"]
    header = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return header + b"\0\0\x80\x3f\0\0\0\x40", len(header)


@pytest.mark.parametrize("packed", [False, True])
def test_binary_and_compressed_bodies_are_taken_as_they_are(service, packed):
    body, header_length = binary()
    headers = {"inference-header-content-length": str(header_length)}
    if packed:
        body, headers["content-encoding"] = gzip.compress(body), "gzip"
    accepted = ask(service, body=body, **headers)
    assert accepted.status == 202
    service.run_jobs()
    answer = service.request("GET", f"{accepted.headers['location']}/result")
    realtime = service.request("POST", INFER, body=body, headers=headers)
    assert realtime.status == 200
    assert (answer.body, answer.headers) == (realtime.body, realtime.headers)


def test_raw_binary_is_taken_too(service):
    accepted = ask(
        service, body=b"\0\0\x80\x3f\0\0\0\x40", **{"inference-header-content-length": "0"}
    )
    assert accepted.status == 202
    service.run_jobs()
    answer = service.request("GET", f"{accepted.headers['location']}/result")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", {}, 400, "malformed_body"),
        (b"", {}, 400, "malformed_body"),
        ({"inputs": []}, {}, 400, "invalid_request"),
        ({"inputs": [{**X, "shape": [2, 2]}]}, {}, 400, "signature_mismatch"),
        (b"abc", {"content-encoding": "gzip"}, 400, "malformed_body"),
        (b"abc", {"content-encoding": "br"}, 415, "unsupported_media_type"),
        (b"{}", {"inference-header-content-length": "9"}, 400, "malformed_body"),
        (b"{}", {"inference-header-content-length": "x"}, 400, "malformed_body"),
    ],
)
def test_what_the_call_would_refuse_is_refused_alike_and_no_job_is_made(
    service, body, headers, status, code
):
    refused = ask(service, body=body, **headers)
    realtime = service.request("POST", INFER, body=body, headers=headers)
    assert (refused.status, refused.json()["code"]) == (status, code)
    assert (realtime.status, realtime.json()["code"]) == (status, code)
    assert refused.json().get("field") == realtime.json().get("field")
    assert service.run_jobs() == 0


def test_an_unknown_model_is_404(service):
    answer = ask(service, "/v2/models/absent/infer")
    assert (answer.status, answer.json()["code"]) == (404, "model_not_found")


def test_a_model_without_the_class_is_refused_with_those_it_has(tmp_path):
    root = helper.make_node("Sqrt", ["x"], ["y"])
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "pools.toml").write_text("[shared]\n")
    write_model(
        folder, "spot", "1", [root], classes='["realtime"]', x=("FP32", [-1]), y=("FP32", [-1])
    )
    body = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [4.0]}]}
    with start_service(folder) as service:
        refused = ask(service, "/v2/models/spot/infer", body=body)
        assert (refused.status, refused.json()["code"]) == (400, "latency_class_not_offered")
        assert "'realtime'" in refused.json()["error"]
        assert service.run_jobs() == 0


def test_an_idempotency_key_makes_one_job_of_a_request_that_is_sent_again(service):
    first = ask(service, **{"idempotency-key": "order-9"})
    again = ask(service, **{"idempotency-key": "order-9"})
    assert first.json()["id"] == again.json()["id"]
    assert service.run_jobs() == 1


@pytest.mark.parametrize("prefer", ["return=minimal", "wait=5", 'x="respond-async"'])
def test_other_preferences_are_answered_on_the_spot(service, prefer):
    answer = service.request("POST", INFER, body=GOOD, headers={"prefer": prefer})
    assert answer.status == 200
    assert "preference-applied" not in answer.headers
    assert service.run_jobs() == 0


def test_without_the_function_that_accepts_jobs_the_answer_is_503_in_our_shape(service):
    ingress = service.lambdas.remove("laneway-local-ingress")
    try:
        answer = ask(service)
    finally:
        service.lambdas.add(ingress)
    assert (answer.status, answer.json()["code"]) == (503, "unavailable")
    assert answer.json()["request_id"]
    assert service.run_jobs() == 0


def test_a_store_that_fails_after_the_job_was_made_leaves_it_accepted(service):
    """503 would say that there is no job: what was accepted is 202, whatever follows."""
    accepted = ask(service, **{"idempotency-key": "made-before"})
    large = {"inputs": [{**X, "shape": [3000, 2], "data": [1.0, 2.0] * 3000}]}
    first = ask(service, body=large, **{"idempotency-key": "large"})
    service.run_jobs()
    stored = service.resources.s3.list_objects_v2(
        Bucket=service.resources.bucket, Prefix=f"results/default/{first.json()['id']}"
    )["Contents"]
    for item in stored:
        service.resources.s3.delete_object(Bucket=service.resources.bucket, Key=item["Key"])
    again = ask(service, body=large, **{"idempotency-key": "large"})
    assert (again.status, again.json()["status"]) == (202, "succeeded")
    done = ask(service, **{"idempotency-key": "made-before"})
    assert (done.status, done.json()["id"]) == (200, "mine")
    assert accepted.status == 202


def test_jobs_are_the_tenants_whose_key_asked(service):
    other = service.headers_of("acme")
    accepted = ask(service, **other)
    location = accepted.headers["location"]
    assert service.request("GET", location).status == 404
    assert service.request("GET", location, headers=other).status == 200
