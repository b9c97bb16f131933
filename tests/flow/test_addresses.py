"""Every address that needs no job: what it answers, to whom, and what mistakes get."""

from __future__ import annotations

import pytest

from shared.keys import create_key, revoke_key
from shared.schema import model as told
from shared.schema.request import InferenceResponse

GOOD = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}]}


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/v2", told.ServerMetadata),
        ("/v2/", told.ServerMetadata),
        ("/v2/health/live", told.LiveBody),
        ("/v2/health/ready", told.ReadyBody),
        ("/v2/models", told.ModelList),
        ("/v2/models/scale", told.ModelMetadata),
        ("/v2/models/scale/versions/1", told.ModelMetadata),
        ("/v2/models/scale/ready", told.ModelReadyBody),
        ("/v2/models/scale/versions/1/ready", told.ModelReadyBody),
        ("/v2/models/scale/config", told.ModelConfig),
        ("/v2/models/scale/versions/1/config", told.ModelConfig),
    ],
)
def test_what_is_told_has_the_form_of_the_schema(laneway_service, path, form):
    answer = laneway_service.request("GET", path)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    read = form.model_validate(answer.json())
    assert read.model_dump(mode="json") == answer.json()


def test_an_inference_answer_has_the_form_of_the_schema(laneway_service):
    answer = laneway_service.request("POST", "/v2/models/scale/infer", body=GOOD | {"id": "a"})
    read = InferenceResponse.model_validate(answer.json())
    assert (read.model_name, read.model_version, read.id) == ("scale", "2", "a")


@pytest.mark.parametrize("path", ["/v2/repository/index", "/v2/repository/models/index"])
@pytest.mark.parametrize("body", [b"", b"{}", b'{"ready":false}'])
def test_the_index_has_every_version(laneway_service, path, body):
    answer = laneway_service.request("POST", path, body=body)
    entries = [told.RepositoryIndexEntry.model_validate(entry) for entry in answer.json()]
    assert ("scale", "1") in [(entry.name, entry.version) for entry in entries]
    assert len(entries) == 7


def test_the_index_can_be_limited_to_what_is_ready(laneway_service):
    answer = laneway_service.request("POST", "/v2/repository/index", body={"ready": True})
    assert {entry["state"] for entry in answer.json()} == {"READY"}
    assert "queued" not in {entry["name"] for entry in answer.json()}


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"ready":1}', b"\xff"])
def test_an_index_request_that_is_none_is_400(laneway_service, body):
    answer = laneway_service.request("POST", "/v2/repository/index", body=body)
    assert answer.status == 400
    assert told.ErrorBody.model_validate(answer.json()).request_id


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v2/models/scale/infer", "POST"),
        ("GET", "/v2/models/queued/infer", "POST"),
        ("POST", "/v2", "GET"),
        ("POST", "/v2/health/ready", "GET"),
        ("DELETE", "/v2/models/scale", "GET"),
        ("GET", "/v2/repository/index", "POST"),
        ("PUT", "/v2/logging", "GET, POST"),
    ],
)
def test_a_wrong_method_is_405_and_says_which_is_right(laneway_service, method, path, allow):
    answer = laneway_service.request(method, path)
    assert answer.status == 405
    assert answer.headers["allow"] == allow
    assert told.ErrorBody.model_validate(answer.json()).code == "method_not_allowed"


@pytest.mark.parametrize("path", ["/", "/v1/models", "/v2/nothing", "/v2/models/scale/versions"])
def test_an_unknown_address_is_404_in_our_shape(laneway_service, path):
    answer = laneway_service.request("GET", path)
    assert answer.status == 404
    assert told.ErrorBody.model_validate(answer.json()).code == "not_found"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/models/stats"),
        ("GET", "/v2/models/scale/versions/1/stats"),
        ("GET", "/v2/systemsharedmemory/status"),
        ("POST", "/v2/cudasharedmemory/region/r/register"),
        ("POST", "/v2/trace/setting"),
        ("GET", "/v2/models/scale/trace/setting"),
        ("GET", "/v2/logging"),
        ("POST", "/v2/repository/models/scale/load"),
    ],
)
def test_what_a_function_cannot_keep_is_501(laneway_service, method, path):
    answer = laneway_service.request(method, path, body={} if method == "POST" else b"")
    assert answer.status == 501
    assert told.ErrorBody.model_validate(answer.json()).code == "not_supported"


@pytest.mark.parametrize("part", ["", "/ready", "/config"])
def test_a_version_that_is_not_served_is_404_with_those_that_are(laneway_service, part):
    answer = laneway_service.request("GET", f"/v2/models/scale/versions/7{part}")
    assert answer.status == 404
    assert "served versions: 2" in answer.json()["error"]


def test_an_infer_address_written_otherwise_is_told_the_right_one(laneway_service):
    answer = laneway_service.request("POST", "/v2/models/scale/infer/", body=GOOD)
    assert answer.status == 404
    assert "/v2/models/scale/infer" in answer.json()["error"]


def test_the_api_is_described_without_a_key_in_stage_local(laneway_service):
    answer = laneway_service.gateway.handle("GET", "/openapi.json", {}, b"")
    assert answer.status == 200
    assert "/v2/models/scale/infer" in answer.json()["paths"]


def test_the_page_to_try_the_api_is_served_without_a_key_in_stage_local(laneway_service):
    answer = laneway_service.gateway.handle("GET", "/docs", {}, b"")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_without_a_key_the_gateway_answers_401_and_asks_nobody(laneway_service):
    answer = laneway_service.gateway.handle("GET", "/v2", {}, b"")
    assert (answer.status, answer.json()) == (401, {"message": "Unauthorized"})


@pytest.mark.parametrize("key", ["wrong", f"lw_{'a' * 43}", f"lw_{'a' * 44}", "lw_"])
def test_an_unknown_key_gets_403(laneway_service, key):
    answer = laneway_service.request("GET", "/v2", headers={"x-api-key": key})
    assert (answer.status, answer.json()) == (403, {"message": "Forbidden"})


def test_a_key_opens_until_it_is_revoked(laneway_service):
    secret, key = create_key(laneway_service.keys, tenant="acme", name="laptop")
    assert laneway_service.request("GET", "/v2", headers={"x-api-key": secret}).status == 200
    revoke_key(laneway_service.keys, key.key_id)
    assert laneway_service.request("GET", "/v2", headers={"x-api-key": secret}).status == 403
