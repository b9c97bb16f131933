"""Jobs over HTTP, through the whole service: accepted, run by the real worker, answered."""

from __future__ import annotations

import base64
import gzip
import json
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from shared.schema import model as told
from shared.schema.job import Job, JobPage
from shared.schema.upload import Upload

pytestmark = pytest.mark.rabbitmq

X = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}
GOOD = {"id": "mine", "inputs": [X]}


@pytest.fixture
def service(service_of_either_broker):
    service_of_either_broker.run_jobs()  # what other tests left
    return service_of_either_broker


def submit(service, path="/v2/jobs", *, method="POST", headers=None, **members):
    body = {"model": "scale", "input": GOOD} | members
    if members.get("input") is ...:
        del body["input"]
    return service.request(method, path, body=body, headers=headers)


def result(service, answer, **headers):
    return service.request("GET", f"/v2/jobs/{answer.json()['id']}/result", headers=headers)


def infer(service, body=GOOD, model="scale", **headers):
    return service.request("POST", f"/v2/models/{model}/infer", body=body, headers=headers)


def another_tenant(service):
    return service.headers_of("acme")


def test_a_job_is_accepted_run_and_answered_as_the_realtime_call_is(service):
    accepted = submit(service, metadata={"order": "7"})
    assert accepted.status == 202
    job = Job.model_validate(accepted.json())
    assert (job.status, job.model, job.version, job.metadata) == (
        "queued",
        "scale",
        "2",
        {"order": "7"},
    )
    assert accepted.headers["location"] == job.urls.self
    assert accepted.headers["retry-after"] == "1"
    assert service.run_jobs() == 1
    ended = Job.model_validate(service.request("GET", job.urls.self).json())
    assert (ended.status, ended.attempt, ended.metrics.rows_stacked) == ("succeeded", 1, 1)
    realtime = infer(service)
    answer = service.request("GET", job.urls.result)
    assert (answer.status, answer.headers, answer.body) == (
        realtime.status,
        realtime.headers,
        realtime.body,
    )
    assert answer.json()["id"] == "mine"


def test_binary_input_gives_the_binary_answer_of_the_realtime_call(service):
    header = json.dumps(
        {
            "inputs": [
                {
                    "name": "x",
                    "shape": [1, 2],
                    "datatype": "FP32",
                    "parameters": {"binary_data_size": 8},
                }
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    body = header + b"\0\0\x80\x3f\0\0\0\x40"
    accepted = submit(
        service,
        input=...,
        input_base64=base64.b64encode(body).decode(),
        header_length=len(header),
    )
    service.run_jobs()
    realtime = service.request(
        "POST",
        "/v2/models/scale/infer",
        body=body,
        headers={"inference-header-content-length": str(len(header))},
    )
    answer = result(service, accepted)
    assert answer.body == realtime.body
    assert answer.headers == realtime.headers
    assert "inference-header-content-length" in answer.headers


def test_a_result_comes_compressed_to_a_caller_who_accepts_that(service):
    rows = 500
    large = {"inputs": [{**X, "shape": [rows, 2], "data": [1.0, 2.0] * rows}]}
    accepted = submit(service, input=large)
    service.run_jobs()
    plain = result(service, accepted)
    packed = result(service, accepted, **{"accept-encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body == infer(service, large).body


def test_a_job_may_come_compressed(service):
    body = gzip.compress(json.dumps({"model": "scale", "input": GOOD}).encode())
    accepted = service.request("POST", "/v2/jobs", body=body, headers={"content-encoding": "gzip"})
    assert accepted.status == 202


@pytest.mark.parametrize("rows", [2_000, 150_000])
def test_inputs_and_results_of_any_size_are_the_same_as_on_the_spot(service, rows):
    large = {"inputs": [{**X, "shape": [rows, 2], "data": [1.25, 2.5] * rows}]}
    accepted = submit(service, input=large)
    assert accepted.status == 202
    service.run_jobs()
    answer = result(service, accepted)
    expected = infer(service, large)
    if rows < 10_000:
        assert (answer.status, answer.body) == (200, expected.body)
        return
    assert answer.status == 307
    place = urlsplit(answer.headers["location"])
    assert "X-Amz-Signature" in parse_qs(place.query)
    key = place.path.rpartition(f"{service.resources.bucket}/")[2].lstrip("/")
    stored = service.resources.s3.get_object(Bucket=service.resources.bucket, Key=key)
    assert stored["Body"].read() == expected.body
    assert stored["ContentType"] == "application/json"


def test_a_result_is_asked_for_too_early(service):
    answer = result(service, submit(service))
    assert (answer.status, answer.json()["code"]) == (409, "not_finished")
    assert answer.headers["retry-after"] == "1"


def test_a_failed_job_has_the_status_and_body_of_the_realtime_failure(service):
    bad = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [""]}]}
    accepted = submit(service, model="shout", input=bad)
    assert accepted.status == 202
    service.run_jobs()
    answer, realtime = result(service, accepted), infer(service, bad, model="shout")
    assert answer.status == realtime.status == 400
    ours, theirs = answer.json(), realtime.json()
    assert (ours["code"], ours["error"]) == (theirs["code"], theirs["error"])
    assert ours["request_id"] != theirs["request_id"]
    page = service.request("GET", f"/v2/jobs/{accepted.json()['id']}").json()
    assert (page["status"], page["error"]["code"]) == ("failed", "transform_refused")


def test_a_failed_job_names_the_member_at_fault_as_the_realtime_failure_does(service):
    bad = {"inputs": [{**X, "data": [1.0, float("nan")]}]}
    # NaN as the protocol's clients write it
    body = json.dumps({"model": "scale", "input": bad}).encode()
    accepted = service.request("POST", "/v2/jobs", body=body)
    service.run_jobs()
    answer, realtime = result(service, accepted), infer(service, json.dumps(bad).encode())
    assert answer.json() | {"request_id": ""} == realtime.json() | {"request_id": ""}
    page = service.request("GET", f"/v2/jobs/{accepted.json()['id']}").json()
    assert page["error"] == {
        "error": realtime.json()["error"],
        "code": "non_finite_input",
        "field": "inputs[0].data",
    }


def test_the_line_of_a_call_for_a_failed_jobs_result_has_the_failures_code(service, capsys):
    bad = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [""]}]}
    accepted = submit(service, model="shout", input=bad)
    service.run_jobs()
    capsys.readouterr()
    result(service, accepted)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    [line] = [line for line in lines if line["message"] == "request"]
    assert (line["status"], line["code"]) == (400, "transform_refused")


def test_a_canceled_job_is_not_run_and_its_result_is_gone(service):
    accepted = submit(service)
    canceled = service.request("POST", f"/v2/jobs/{accepted.json()['id']}/cancel")
    assert (canceled.status, canceled.json()["status"]) == (200, "canceled")
    service.run_jobs()
    again = service.request("POST", f"/v2/jobs/{accepted.json()['id']}/cancel")
    assert again.json() == canceled.json()
    answer = result(service, accepted)
    assert (answer.status, answer.json()["code"]) == (410, "gone")


def test_put_makes_a_job_once(service):
    first = submit(service, "/v2/jobs/order-7", method="PUT")
    assert (first.status, first.json()["id"]) == (202, "order-7")
    again = submit(service, "/v2/jobs/order-7", method="PUT")
    assert again.status == 200
    assert again.json() == first.json()
    other = submit(service, "/v2/jobs/order-7", method="PUT", version="1")
    assert (other.status, other.json()["code"]) == (409, "conflict")
    assert service.run_jobs() == 1
    after = submit(service, "/v2/jobs/order-7", method="PUT")
    assert (after.status, after.json()["status"]) == (200, "succeeded")
    assert service.run_jobs() == 0


def test_an_idempotency_key_makes_a_job_once_for_each_tenant(service):
    key = {"idempotency-key": "Ключ 1"}
    first = submit(service, headers=key)
    assert first.status == 202
    assert submit(service, headers=key).json() == first.json()
    conflict = submit(service, headers=key, version="1")
    assert (conflict.status, conflict.json()["field"]) == (409, "Idempotency-Key")
    theirs = submit(service, headers=key | another_tenant(service), version="1")
    assert theirs.status == 202
    assert theirs.json()["id"] != first.json()["id"]


@pytest.mark.parametrize(
    ("method", "part"),
    [("GET", ""), ("GET", "/result"), ("POST", "/cancel")],
)
def test_a_foreign_job_answers_exactly_as_an_unknown_one(service, method, part):
    submit(service, "/v2/jobs/theirs", method="PUT")
    headers = another_tenant(service)
    answers = []
    for name in ("theirs", "absent"):
        answer = service.request(method, f"/v2/jobs/{name}{part}", headers=headers)
        body = answer.json() | {"request_id": ""}
        answers.append((answer.status, answer.headers, str(body).replace(name, "NAME")))
    assert answers[0] == answers[1]
    assert answers[0][0] == 404


def test_a_foreign_put_makes_ones_own_job(service):
    submit(service, "/v2/jobs/shared-name", method="PUT")
    own = submit(
        service, "/v2/jobs/shared-name", method="PUT", version="1", headers=another_tenant(service)
    )
    assert (own.status, own.json()["version"]) == (202, "1")


def test_jobs_are_listed_page_by_page_newest_first(service):
    headers = service.headers_of("lister")
    names = [f"j{n}" for n in range(5)]
    for name in names:
        submit(service, f"/v2/jobs/{name}", method="PUT", headers=headers)
    seen, path = [], "/v2/jobs?limit=2"
    while path:
        answer = service.request("GET", path, headers=headers)
        page = JobPage.model_validate(answer.json())
        assert len(page.jobs) <= 2
        seen += [job.id for job in page.jobs]
        path = page.cursor and f"/v2/jobs?limit=2&cursor={page.cursor}"
    assert sorted(seen) == names
    canceled = service.request("POST", "/v2/jobs/j3/cancel", headers=headers).json()
    listed = service.request("GET", "/v2/jobs?status=canceled&model=scale", headers=headers).json()
    assert listed["jobs"] == [canceled]
    assert service.request("GET", "/v2/jobs?model=shout", headers=headers).json()["jobs"] == []


def test_a_cursor_of_another_tenant_is_refused(service):
    for name in ("c1", "c2"):
        submit(service, f"/v2/jobs/{name}", method="PUT")
    cursor = service.request("GET", "/v2/jobs?limit=1").json()["cursor"]
    answer = service.request("GET", f"/v2/jobs?cursor={cursor}", headers=another_tenant(service))
    assert (answer.status, answer.json()["field"]) == (400, "cursor")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=%D9%A3", "limit"),
        ("status=done", "status"),
        ("status=failed&status=queued", "status"),
        ("stats=failed", "stats"),
        ("cursor=abc", "cursor"),
    ],
)
def test_a_wrong_filter_is_400_and_named(service, query, field):
    answer = service.request("GET", f"/v2/jobs?{query}")
    assert (answer.status, answer.json()["field"]) == (400, field)


@pytest.mark.parametrize(
    ("members", "code", "field"),
    [
        ({"input": ...}, "invalid_request", None),
        ({"input_uri": "s3://b/k"}, "invalid_request", None),
        ({"input": ..., "input_uri": "s3://b/k"}, "uri_not_allowed", "input_uri"),
        ({"ttl": 5}, "invalid_request", "ttl"),
        ({"ttl_s": 5}, "invalid_request", "ttl_s"),
        ({"latency_class": "realtime"}, "invalid_request", "latency_class"),
        ({"model": "pairs-only-realtime"}, "model_not_found", None),
        ({"version": "9"}, "version_not_found", None),
        ({"priority": "high"}, "invalid_request", "priority"),
        ({"result_alias": "swamp"}, "invalid_request", "result_alias"),
        ({"input": {"inputs": []}}, "invalid_request", "inputs"),
        (
            {"input": {"inputs": [{**X, "datatype": "FP64"}]}},
            "signature_mismatch",
            "inputs[0].datatype",
        ),
        ({"input": {"inputs": [{**X, "shape": [1, 3]}]}}, "signature_mismatch", "inputs[0].shape"),
        ({"input": {"inputs": [{**X, "data": [1.0]}]}}, "signature_mismatch", "inputs[0].data"),
        ({"input": {"inputs": [{**X, "name": "y"}]}}, "signature_mismatch", "inputs[0].name"),
        (
            {"input": {"inputs": [X], "outputs": [{"name": "z"}]}},
            "signature_mismatch",
            "outputs[0].name",
        ),
    ],
)
def test_a_submission_that_is_wrong_is_refused_and_the_field_named(service, members, code, field):
    answer = submit(service, **members)
    refused = told.ErrorBody.model_validate(answer.json())
    assert answer.status == (404 if code.endswith("not_found") else 400)
    assert (refused.code, refused.field) == (code, field)
    assert refused.request_id
    assert service.run_jobs() == 0


@pytest.mark.parametrize("name", ["a b", "a.b", "x" * 65, "%2e%2e"])
def test_an_id_that_cannot_be_one_is_refused(service, name):
    path = f"/v2/jobs/{quote(name)}"
    assert submit(service, path, method="PUT").status == 400
    assert service.request("GET", path).status == 404


def test_put_takes_no_idempotency_key_beside_its_address(service):
    answer = submit(service, "/v2/jobs/a1", method="PUT", headers={"idempotency-key": "k"})
    assert (answer.status, answer.json()["field"]) == (400, "Idempotency-Key")


def test_an_upload_is_a_fresh_place_of_the_tenant_for_a_quarter_of_an_hour(service):
    answer = service.request("POST", "/v2/uploads", body={"max_bytes": 1000})
    assert answer.status == 201
    place = answer.json()
    assert Upload.model_validate(place).max_bytes == 1000
    assert place["uri"].startswith(f"s3://{service.resources.bucket}/uploads/default/")
    policy = json.loads(base64.b64decode(place["fields"]["policy"]))
    assert ["content-length-range", 0, 1000] in policy["conditions"]
    assert place["fields"]["x-amz-algorithm"] == "AWS4-HMAC-SHA256"
    assert service.request("POST", "/v2/uploads").json()["uri"] != place["uri"]


def test_an_uploaded_input_is_run(service):
    place = service.request("POST", "/v2/uploads").json()
    service.resources.s3.put_object(
        Bucket=service.resources.bucket, Key=place["fields"]["key"], Body=json.dumps(GOOD).encode()
    )
    accepted = submit(service, input=..., input_uri=place["uri"])
    assert accepted.status == 202
    service.run_jobs()
    assert result(service, accepted).body == infer(service).body
    foreign = submit(service, input=..., input_uri=place["uri"], headers=another_tenant(service))
    assert (foreign.status, foreign.json()["code"]) == (400, "uri_not_allowed")


def test_an_upload_that_never_came_fails_the_job_with_a_reason(service):
    place = service.request("POST", "/v2/uploads").json()
    accepted = submit(service, input=..., input_uri=place["uri"])
    service.run_jobs()
    answer = result(service, accepted)
    assert answer.status == 404
    assert "no object" in answer.json()["error"]


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"max_bytes":0}', b'{"max_bytes":true}', b'{"a":1}']
)
def test_an_upload_that_is_asked_for_wrongly_is_400(service, body):
    assert service.request("POST", "/v2/uploads", body=body).status == 400


def test_an_upload_past_what_s3_takes_is_refused(service):
    answer = service.request("POST", "/v2/uploads", body={"max_bytes": 6 * 2**30})
    assert (answer.status, answer.json()["field"]) == (400, "max_bytes")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/v2/jobs", "GET, POST"),
        ("POST", "/v2/jobs/a", "GET, PUT"),
        ("GET", "/v2/jobs/a/cancel", "POST"),
        ("POST", "/v2/jobs/a/result", "GET"),
        ("GET", "/v2/uploads", "POST"),
    ],
)
def test_a_wrong_method_is_405(service, method, path, allow):
    answer = service.request(method, path)
    assert (answer.status, answer.headers["allow"]) == (405, allow)
