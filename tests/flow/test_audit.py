"""The audit of the whole service in this process: every act leaves its record, and no payload does."""

from __future__ import annotations

import json
import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cli.records import read_record
from functions.ingress.routes import ROUTES
from shared.keys import API_KEY_HEADER, create_key

ASYNC = {"prefer": "respond-async"}
READS = (r"/v2/repository(?:/[^/]+)?/index",)
"""Addresses that are asked by POST and change nothing."""
NOT_OFFERED = ("trace", "logging", "sharedmemory", "load")


@pytest.fixture
def service(laneway_service, capsys):
    laneway_service.run_jobs()  # what other tests left
    capsys.readouterr()
    return laneway_service


@pytest.fixture
def records(capsys):
    """The records that were written, as `laneway audit` reads them from the functions' logs."""

    def read():
        found = (
            read_record(line, 0, stage="local") for line in capsys.readouterr().out.splitlines()
        )
        return [record for record in found if record is not None]

    return read


@pytest.fixture
def caller(service):
    """The headers of a tenant of its own, and what its key is called in records."""
    tenant = f"t{uuid.uuid4().hex[:8]}"
    secret, key = create_key(service.keys, tenant=tenant)
    return {API_KEY_HEADER: secret}, tenant, f"key:{key.key_id}"


def inputs(*values, name="x", kind="FP32", shape=None):
    tensor = {"name": name, "shape": shape or [1, len(values)], "datatype": kind}
    return {"inputs": [{**tensor, "data": list(values)}]}


def digest_of(small_models, model, version):
    manifest = json.loads((small_models / model / version / "manifest.json").read_text())
    return manifest["files"][0]["sha256"]


def test_an_inference_is_recorded_with_caller_model_and_digest_in_its_one_line(
    service, records, caller, small_models
):
    headers, tenant, name = caller

    answer = service.request("POST", "/v2/models/scale/infer", body=inputs(1, 2), headers=headers)

    [record] = records()
    assert answer.status == 200
    assert (record.act, record.outcome, record.status) == ("infer", "ok", "200")
    assert (record.tenant, record.principal) == (tenant, name)
    assert (record.model, record.version) == ("scale", "2")
    assert record.digest == digest_of(small_models, "scale", "2")
    assert record.request_id


@pytest.mark.parametrize(
    ("path", "outcome", "has_digest"),
    [
        ("/v2/models/scale/infer", "signature_mismatch", True),
        ("/v2/models/scale/versions/9/infer", "version_not_found", False),
    ],
)
def test_an_inference_that_is_refused_is_recorded_with_the_reason(
    service, records, path, outcome, has_digest
):
    service.request("POST", path, body=inputs(1, 2, 3))

    [record] = records()
    assert (record.act, record.outcome) == ("infer", outcome)
    assert bool(record.digest) is has_digest


def test_submit_run_and_cancel_of_a_job_are_records_of_one_job_and_one_caller(
    service, records, caller, small_models
):
    headers, tenant, name = caller
    job = {"model": "scale", "input": inputs(1, 2)}

    ran = service.request("POST", "/v2/jobs", body=job, headers=headers).json()["id"]
    service.run_jobs()
    waiting = service.request("POST", "/v2/jobs", body=job, headers=headers).json()["id"]
    service.request("POST", f"/v2/jobs/{waiting}/cancel", headers=headers)
    service.request("GET", f"/v2/jobs/{ran}", headers=headers)

    found = records()
    assert [(r.act, r.job_id, r.outcome) for r in found] == [
        ("submit", ran, "ok"),
        ("infer", ran, "succeeded"),
        ("submit", waiting, "ok"),
        ("cancel", waiting, "ok"),
    ]
    assert found[0].request_id == found[1].request_id != found[2].request_id
    assert {(r.tenant, r.principal, r.model, r.version, r.digest) for r in found} == {
        (tenant, name, "scale", "2", digest_of(small_models, "scale", "2"))
    }


def test_a_request_that_becomes_a_job_is_a_submission(service, records, caller):
    headers, _, name = caller

    answer = service.request(
        "POST", "/v2/models/scale/infer", body=inputs(1, 2), headers=headers | ASYNC
    )

    [record] = records()
    assert answer.status == 202
    assert (record.act, record.job_id) == ("submit", answer.json()["id"])
    assert record.principal == name


def test_a_job_that_was_dropped_on_a_queue_is_the_queues(service, records):
    body = {
        "schema_version": 1,
        "id": f"d-{uuid.uuid4().hex}",
        "model": "scale",
        "input": inputs(1, 2),
    }
    service.resources.sqs.send_message(
        QueueUrl=service.resources.queues["shared"]["async"], MessageBody=json.dumps(body)
    )

    service.run_jobs()

    [record] = records()
    assert (record.act, record.job_id, record.principal) == ("infer", body["id"], "queue")
    assert not record.request_id, "no call submitted it"


def lines_of(*names):
    line = {"method": "POST", "url": "/v2/models/scale/infer", "body": inputs(1, 2)}
    return "\n".join(json.dumps({"custom_id": name, **line}) for name in names).encode()


def test_a_batch_is_recorded_when_it_is_submitted_by_each_chunk_that_ran_and_when_it_is_canceled(
    service, records, caller, small_models
):
    headers, tenant, name = caller
    place = service.request("POST", "/v2/uploads", body={"max_bytes": 10_000}, headers=headers)
    bucket, _, key = place.json()["uri"].removeprefix("s3://").partition("/")
    service.resources.s3.put_object(Bucket=bucket, Key=key, Body=lines_of("a", "b", "c"))
    batch = {"endpoint": "/v2/models/scale/infer", "input": place.json()["uri"]}

    ran = service.request("POST", "/v2/batches", body=batch, headers=headers).json()["id"]
    service.run_jobs()
    service.request("POST", f"/v2/batches/{ran}/cancel", headers=headers)

    uploaded, *found = records()
    assert (uploaded.act, uploaded.principal) == ("upload", name)
    assert [(r.act, r.batch_id, r.lines) for r in found] == [
        ("submit", ran, ""),
        ("infer", ran, "3"),
        ("cancel", ran, ""),
    ]
    assert found[0].request_id == found[1].request_id != found[2].request_id
    assert {(r.tenant, r.principal, r.model, r.version, r.digest) for r in found} == {
        (tenant, name, "scale", "2", digest_of(small_models, "scale", "2"))
    }


@pytest.mark.parametrize(("model", "outcome"), [("scale", "ok"), ("nobody", "model_not_found")])
def test_a_batch_that_an_upload_begins_is_the_queues(
    service, records, small_models, model, outcome
):
    name = f"canary{uuid.uuid4().hex}"
    key = f"uploads/default/auto/{model}/{name}"
    service.resources.s3.put_object(
        Bucket=service.resources.bucket, Key=key, Body=lines_of("a", "b")
    )
    stored = {"bucket": {"name": service.resources.bucket}, "object": {"key": key}}
    event = {"Records": [{"eventName": "ObjectCreated:Put", "s3": stored}]}
    service.resources.sqs.send_message(
        QueueUrl=service.resources.split_queue, MessageBody=json.dumps(event)
    )

    service.run_jobs()

    submitted, *ran = records()
    assert (submitted.act, submitted.outcome) == ("submit", outcome)
    assert (submitted.principal, submitted.tenant) == ("queue", "default")
    assert name not in json.dumps(submitted.to_json())
    if outcome == "ok":
        assert submitted.digest == digest_of(small_models, "scale", "2")
        assert [(r.act, r.batch_id, r.lines) for r in ran] == [("infer", submitted.batch_id, "2")]


@pytest.mark.rabbitmq
def test_a_job_that_ran_over_rabbitmq_is_recorded_like_any_other(carried_service, records):
    carried_service.run_jobs()
    records()
    secret, key = create_key(carried_service.keys, tenant=f"t{uuid.uuid4().hex[:8]}")
    headers = {API_KEY_HEADER: secret}
    job = {"model": "scale", "input": inputs(1, 2)}

    ran = carried_service.request("POST", "/v2/jobs", body=job, headers=headers).json()["id"]
    carried_service.run_jobs()

    found = [record for record in records() if record.job_id == ran]
    assert [(r.act, r.outcome) for r in found] == [("submit", "ok"), ("infer", "succeeded")]
    assert {(r.principal, r.model, r.version) for r in found} == {
        (f"key:{key.key_id}", "scale", "2")
    }


def test_what_somebody_tried_with_a_job_that_is_not_theirs_is_recorded(service, records, caller):
    headers, tenant, _ = caller

    service.request("POST", "/v2/jobs/not-mine/cancel", headers=headers)

    [record] = records()
    assert (record.act, record.outcome, record.tenant) == ("cancel", "job_not_found", tenant)


def test_a_key_that_is_not_valid_is_a_denied_call(service, caplog):
    answer = service.request("GET", "/v2", headers={API_KEY_HEADER: f"lw_{'x' * 43}"})

    [line] = [line for line in caplog.records if line.name == "laneway-authorizer"]
    record = read_record(json.dumps(line.__dict__, default=str), 0, stage="local")
    assert answer.status == 403
    assert (record.act, record.outcome, record.principal) == ("denied", "unknown_key", "")
    assert record.request_id


def test_a_call_without_the_scope_is_a_denied_call_of_a_known_caller(service, records):
    secret, key = create_key(service.keys, tenant=f"t{uuid.uuid4().hex[:8]}", scopes=["read"])

    for method, path in (("POST", "/v2/models/scale/infer"), ("POST", "/v2/jobs")):
        answer = service.request(method, path, body=inputs(1, 2), headers={API_KEY_HEADER: secret})
        [record] = records()
        assert answer.status == 403
        assert (record.act, record.outcome) == ("denied", "forbidden")
        assert record.principal == f"key:{key.key_id}"


def test_every_address_that_changes_something_says_which_act_it_is():
    silent = [
        route.pattern.pattern
        for route in ROUTES
        if set(route.methods) - {"GET"}
        and route.act is None
        and not any(word in route.pattern.pattern for word in NOT_OFFERED)
    ]

    assert silent == list(READS)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text(min_size=1, max_size=40), st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_no_value_that_a_caller_sends_is_in_a_record(service, records, text, number):
    mark = f"canary{uuid.uuid4().hex}"
    canary = mark + text.encode("utf-8", "ignore").decode()
    odd = 1e6 + number  # a value that no other member has by chance
    words = inputs(canary, name="text", kind="BYTES", shape=[1])
    service.request("POST", "/v2/models/shout/infer", body=words)
    service.request("POST", "/v2/models/scale/infer", body=inputs(odd, odd))
    service.request("POST", f"/v2/models/{mark}/infer", body=words)
    job = {"model": "shout", "input": words, "metadata": {"a": canary}}
    service.request("POST", "/v2/jobs", body=job, headers={"idempotency-key": mark})
    service.request("POST", "/v2/jobs", body={"model": mark, "input": words})
    service.request("POST", f"/v2/jobs/{mark}/cancel")
    service.run_jobs()

    found = records()

    assert {"infer", "submit", "cancel"} <= {record.act for record in found}
    for record in found:
        told = json.dumps(record.to_json())
        assert mark not in told
        assert str(odd) not in told
