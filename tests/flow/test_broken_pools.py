"""Readiness tells the truth: a pool that is gone, a file that changed, a file that is missing."""

from __future__ import annotations

import json
import shutil

import pytest

from cli.testing import start_service

GOOD = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}]}


@pytest.fixture
def own_models(small_models, tmp_path):
    """A copy that a test may break before it starts the service."""
    return shutil.copytree(small_models, tmp_path / "models")


def states(service):
    index = service.request("POST", "/v2/repository/index").json()
    return {f"{entry['name']}/{entry['version']}": entry["state"] for entry in index}


def test_a_pool_that_is_gone_is_not_ready_and_the_other_one_is(own_models):
    with start_service(own_models) as service:
        assert service.request("GET", "/v2/health/ready").status == 200
        service.lambdas.remove("laneway-local-other-realtime")

        server = service.request("GET", "/v2/health/ready")
        assert server.status == 503
        assert "'other'" in server.json()["error"]
        model = service.request("GET", "/v2/models/pairs/ready")
        assert (model.status, model.json()["code"]) == (503, "model_unavailable")
        assert "retry-after" in model.headers
        assert service.request("GET", "/v2/models/scale/ready").status == 200
        assert states(service)["pairs/v1.0"] == "UNAVAILABLE"
        assert states(service)["scale/2"] == "READY"


def test_a_file_that_was_changed_after_locking_is_not_served_and_the_others_are(own_models, capsys):
    with (own_models / "scale" / "2" / "model.onnx").open("ab") as file:
        file.write(b"\0")
    with start_service(own_models) as service:
        answer = service.request("POST", "/v2/models/scale/infer", body=GOOD)
        assert (answer.status, answer.json()["code"]) == (500, "model_digest_mismatch")
        assert service.request("GET", "/v2/models/scale/ready").status == 503
        assert service.request("GET", "/v2/health/ready").status == 503
        assert states(service)["scale/2"] == "UNAVAILABLE"
        assert states(service)["root/1"] == "READY"
        # The version before it is whole: that is the way back.
        answer = service.request("POST", "/v2/models/scale/versions/1/infer", body=GOOD)
        assert answer.json()["outputs"][0]["data"] == [2.0, 4.0]
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "{" in line[:1]]
    [call] = [line for line in said if line.get("code") == "model_digest_mismatch"]
    assert call["audit"] == "infer"
    assert call["server_errors"] == 1, "which the pool's alarm looks at"


def test_a_missing_file_is_503_and_the_others_are_served(own_models):
    (own_models / "scale" / "2" / "model.onnx").unlink()
    with start_service(own_models) as service:
        answer = service.request("POST", "/v2/models/scale/infer", body=GOOD)
        assert (answer.status, answer.json()["code"]) == (503, "model_unavailable")
        ready = service.request("GET", "/v2/models/scale/ready")
        assert (ready.status, ready.json()["code"]) == (503, "model_unavailable")
        assert service.request("GET", "/v2/models/root/ready").status == 200


def test_a_transform_that_cannot_be_imported_takes_only_its_own_model(own_models):
    (own_models / "shout" / "transform.py").write_text("import nowhere_to_be_found\n")
    with start_service(own_models) as service:
        text = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}]}
        answer = service.request("POST", "/v2/models/shout/infer", body=text)
        assert answer.status == 500
        assert service.request("POST", "/v2/models/scale/infer", body=GOOD).status == 200
