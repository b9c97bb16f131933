"""Tenants with limits, against the whole service: who is refused, with what, and who is not."""

from __future__ import annotations

import json

import pytest

from cli.client import NO_RETRIES, Laneway, ThrottledError
from shared.keys import API_KEY_HEADER, create_key
from shared.limiting.held import lease_calls
from shared.limiting.tenants import TenantRow
from shared.schema.tenants import TenantLimits

INFER = "/v2/models/scale/infer"
BODY = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}]}
SLOW = TenantLimits(requests_per_s=0.001, burst=5)


@pytest.fixture
def tenant(laneway_service):
    """Make a tenant with limits; gives its name and the headers of its calls."""

    def make(name, **limits):
        secret, _ = create_key(laneway_service.keys, tenant=name)
        laneway_service.resources.tenants.put(TenantRow(tenant=name, limits=limits))
        return {API_KEY_HEADER: secret}

    return make


def infer(service, headers):
    return service.request("POST", INFER, body=BODY, headers=headers)


def until_refused(service, headers, call=infer, *, at_most=50):
    answers = []
    for _ in range(at_most):
        answers.append(call(service, headers))
        if answers[-1].status == 429:
            return answers
    raise AssertionError(f"{at_most} calls were let through")


def test_a_realtime_call_past_the_rate_is_429_with_what_is_left(laneway_service, tenant):
    headers = tenant("fast-caller", requests_per_s=0.001, burst=5)

    *passed, refused = until_refused(laneway_service, headers)

    assert {answer.status for answer in passed} == {200}
    assert 5 <= len(passed) <= 5 + lease_calls(SLOW)
    assert passed[0].headers["ratelimit-policy"] == '"requests";q=5;w=5000'
    assert passed[0].headers["ratelimit"].startswith('"requests";r=4;t=')
    assert refused.json()["code"] == "rate_limited"
    assert "0.001 calls a second" in refused.json()["error"]
    assert int(refused.headers["retry-after"]) > 900
    assert refused.headers["ratelimit"].startswith('"requests";r=0;t=')


def test_functions_share_the_counter_of_a_tenant(laneway_service, tenant):
    headers = tenant("all-over", requests_per_s=0.001, burst=5)

    realtime = until_refused(laneway_service, headers)
    ingress = until_refused(
        laneway_service,
        headers,
        lambda service, headers: service.request("GET", "/v2/models", headers=headers),
    )

    let_through = len(realtime) + len(ingress) - 2
    assert let_through <= 5 + 2 * lease_calls(SLOW)


def test_other_tenants_meet_no_limit_and_no_field(laneway_service, tenant):
    until_refused(laneway_service, tenant("noisy-caller", requests_per_s=0.001, burst=1))

    answer = infer(laneway_service, {})

    assert answer.status == 200
    assert "ratelimit" not in answer.headers


def test_a_day_s_bytes_are_those_of_accepted_bodies(laneway_service, tenant):
    headers = tenant("heavy-caller", bytes_per_day=500)

    *passed, refused = until_refused(laneway_service, headers)

    size_bytes = len(json.dumps(BODY))
    assert passed[0].headers["ratelimit-policy"] == '"bytes";q=500;w=86400;qu="content-bytes"'
    assert passed[0].headers["ratelimit"].startswith(f'"bytes";r={500 - size_bytes};')
    assert refused.json()["code"] == "quota_used"
    assert laneway_service.request("GET", "/v2/models", headers=headers).status == 200


def test_a_place_for_an_upload_is_of_the_day_s_bytes_with_all_that_it_may_hold(
    laneway_service, tenant
):
    headers = tenant("uploader", bytes_per_day=3_000_000)

    def upload(size_bytes):
        asked = {"max_bytes": size_bytes}
        return laneway_service.request("POST", "/v2/uploads", body=asked, headers=headers)

    assert upload(2_000_000).status == 201
    refused = upload(2_000_000)
    assert (refused.status, refused.json()["code"]) == (429, "quota_used")
    assert int(refused.headers["retry-after"]) > 1
    assert refused.headers["ratelimit"].startswith('"bytes";r=')
    assert upload(5 * 1024**3).status == 429
    assert upload(900_000).status == 201, "what was refused took nothing"


def test_a_job_past_the_unfinished_ones_is_429_until_one_has_ended(laneway_service, tenant):
    headers = tenant("many-jobs", concurrent_jobs=2)
    job = {"model": "scale", "input": BODY}

    def submit(service, headers):
        return service.request("POST", "/v2/jobs", body=job, headers=headers)

    *accepted, refused = until_refused(laneway_service, headers, submit)

    assert len(accepted) == 2
    assert refused.json()["code"] == "too_many_jobs"
    assert refused.headers["ratelimit"] == '"jobs";r=0'
    assert refused.headers["retry-after"] == "5"
    asynchronous = laneway_service.request(
        "POST", INFER, body=BODY, headers={**headers, "prefer": "respond-async"}
    )
    assert asynchronous.json()["code"] == "too_many_jobs"
    laneway_service.run_jobs()
    assert submit(laneway_service, headers).status == 202


def test_batches_count_against_the_same_limit_as_jobs(laneway_service, tenant):
    headers = tenant("many-batches", concurrent_jobs=2)
    job = {"model": "scale", "input": BODY}
    resources = laneway_service.resources
    key = "uploads/many-batches/lines"
    resources.s3.put_object(Bucket=resources.bucket, Key=key, Body=b"{}\n")
    batch = {"endpoint": INFER, "input": f"s3://{resources.bucket}/{key}"}

    def submit(path, body, **more):
        return laneway_service.request("POST", path, body=body, headers={**headers, **more})

    first = submit("/v2/batches", batch, **{"idempotency-key": "nightly"})
    assert (first.status, submit("/v2/jobs", job).status) == (202, 202)
    for path, body in (("/v2/batches", batch), ("/v2/jobs", job)):
        refused = submit(path, body)
        assert (refused.status, refused.json()["code"]) == (429, "too_many_jobs")
        assert refused.headers["retry-after"] == "5"
    again = submit("/v2/batches", batch, **{"idempotency-key": "nightly"})
    assert (again.status, again.json()["id"]) == (200, first.json()["id"])

    laneway_service.run_jobs()
    page = laneway_service.request("GET", f"/v2/batches/{first.json()['id']}", headers=headers)
    assert page.json()["status"] == "succeeded", "its one line is an error line"
    retry = f"/v2/batches/{first.json()['id']}/retry"
    assert [submit("/v2/jobs", job).status for _ in range(2)] == [202, 202]
    assert submit(retry, {}).json()["code"] == "too_many_jobs"
    laneway_service.run_jobs()
    assert submit(retry, {}).status == 202


def test_a_request_that_becomes_a_job_is_counted_once(laneway_service, tenant):
    headers = tenant("handed-over", requests_per_s=0.001, burst=50)

    answer = laneway_service.request(
        "POST", INFER, body=BODY, headers={**headers, "prefer": "respond-async"}
    )

    assert answer.status == 202
    assert answer.headers["ratelimit"].startswith('"requests";r=49;')


@pytest.fixture
def client(laneway_service, tenant):
    """A client of a tenant with such limits."""
    opened = []

    def make(name, *, retry=None, **limits):
        key = tenant(name, **limits)[API_KEY_HEADER]
        opened.append(Laneway(laneway_service.url, api_key=key, retry=retry))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def call_often(client, count=10):
    for _ in range(count):
        client.models()


def test_the_python_client_waits_as_it_is_told_and_goes_on(client):
    patient = client("patient", requests_per_s=1, burst=1)

    call_often(patient, 3)


def test_a_client_that_would_have_to_wait_too_long_raises_at_once(client):
    impatient = client("impatient", requests_per_s=0.001, burst=1)

    with pytest.raises(ThrottledError) as refused:
        call_often(impatient)

    assert (refused.value.code, refused.value.from_gateway) == ("rate_limited", False)
    assert refused.value.retry_after_s > 900


def test_a_client_without_retries_tells_what_it_was_told(client):
    told = client("told", retry=NO_RETRIES, requests_per_s=0.001, burst=1)

    with pytest.raises(ThrottledError, match="calls a second"):
        call_often(told)
