"""The functions and the events that API Gateway makes of what tritonclient sends, recorded."""

from __future__ import annotations

import base64
import gzip
import json
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import orjson
import pytest

from functions.realtime.service import make_handler
from shared.catalog import parse_catalog
from shared.repository import compile_catalog, read_repository
from shared.schema.compile import export_validators
from shared.settings import RealtimeSettings

EVENTS = Path(__file__).parents[1] / "events"
HEADER_LENGTH = "inference-header-content-length"


def event(name):
    return json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture
def context():
    return SimpleNamespace(
        function_name="laneway-prod-shared-realtime",
        memory_limit_in_mb=1769,
        invoked_function_arn="arn:aws:lambda:eu-west-1:123456789012:function:f:live",
        aws_request_id="9b7b6c1e-0000-4000-8000-000000000000",
        get_remaining_time_in_millis=lambda: 9_000,
    )


@pytest.fixture(scope="session")
def handler(small_models, tmp_path_factory):
    package = tmp_path_factory.mktemp("package")
    (package / "models").symlink_to(small_models, target_is_directory=True)
    compiled = compile_catalog(read_repository(small_models), pool="shared")
    return make_handler(
        RealtimeSettings(stage="prod", pool="shared"),
        catalog=parse_catalog(compiled | {"validators": export_validators()}),
        package=package,
    )


def read(answer):
    """JSON part and binary tail of an answer."""
    body = (
        base64.b64decode(answer["body"]) if answer["isBase64Encoded"] else answer["body"].encode()
    )
    if answer["headers"].get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    length = int(answer["headers"].get(HEADER_LENGTH, len(body)))
    return orjson.loads(body[:length]), body[length:]


@pytest.mark.parametrize(
    ("name", "version", "factor"),
    [
        ("infer_binary", "2", 3),
        ("infer_binary_aio", "2", 3),
        ("infer_version_and_outputs", "1", 2),
    ],
)
def test_a_recorded_binary_request_gets_a_binary_answer(handler, context, name, version, factor):
    answer = handler(event(name), context)
    assert answer["statusCode"] == 200
    assert answer["isBase64Encoded"] is True
    assert answer["headers"]["content-type"] == "application/octet-stream"
    header, tail = read(answer)
    assert header["model_version"] == version
    assert header["outputs"][0]["parameters"] == {"binary_data_size": 8}
    assert np.frombuffer(tail, "<f4").tolist() == [1 * factor, 2 * factor]


@pytest.mark.parametrize("name", ["infer_json", "infer_json_aio"])
def test_a_recorded_json_request_arrives_as_base64_and_is_answered_as_text(handler, context, name):
    recorded = event(name)
    assert recorded["isBase64Encoded"] is True
    answer = handler(recorded, context)
    assert answer["isBase64Encoded"] is False
    assert answer["headers"]["content-type"] == "application/json"
    assert orjson.loads(answer["body"])["outputs"][0]["data"] == [3.0, 6.0]


def test_a_recorded_compressed_request_gets_a_compressed_answer(handler, context):
    recorded = event("infer_gzip")
    # The header's length is of the JSON part before compression, so it may be past the body's.
    assert recorded["headers"]["content-encoding"] == "gzip"
    answer = handler(recorded, context)
    assert answer["headers"]["content-encoding"] == "gzip"
    header, tail = read(answer)
    assert header["outputs"][0]["shape"] == [200, 2]
    np.testing.assert_array_equal(np.frombuffer(tail, "<f4"), np.arange(1, 401, dtype="f4") * 3)


def test_a_recorded_request_without_rows_gets_an_answer_without_rows(handler, context):
    header, tail = read(handler(event("infer_no_rows"), context))
    assert header["outputs"][0]["shape"] == [0, 2]
    assert tail == b""


def test_the_id_of_a_recorded_request_comes_back(handler, context):
    assert read(handler(event("infer_binary"), context))[0]["id"] == "42"


def test_the_same_event_with_a_named_stage_is_answered_alike(handler, context):
    recorded = event("infer_json")
    recorded["rawPath"] = f"/prod{recorded['rawPath']}"
    recorded["requestContext"]["stage"] = "prod"
    assert handler(recorded, context)["statusCode"] == 200


@pytest.mark.parametrize("name", ["infer_binary", "infer_gzip"])
def test_the_same_body_made_text_on_the_way_is_415(handler, context, name):
    recorded = event(name)
    recorded["headers"]["content-type"] = "application/json"
    recorded["body"] = base64.b64decode(recorded["body"]).decode("utf-8", "replace")
    recorded["isBase64Encoded"] = False
    answer = handler(recorded, context)
    assert answer["statusCode"] == 415
    error = json.loads(answer["body"])
    assert "application/octet-stream" in error["error"]
    assert error["field"] == "content-type"
    assert error["request_id"] == f"recorded-{name}"


def test_a_run_gets_the_time_that_is_left_less_the_margin(handler, context):
    context.get_remaining_time_in_millis = lambda: 400
    recorded = event("infer_json")
    recorded["routeKey"] = "POST /v2/models/stuck/infer"
    request = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}
    recorded |= {"body": json.dumps(request), "isBase64Encoded": False}
    started_s = time.monotonic()
    answer = handler(recorded, context)
    assert json.loads(answer["body"])["code"] == "deadline_exceeded"
    assert time.monotonic() - started_s >= 0.150 - 0.025


def test_a_probe_is_answered_with_what_is_ready(handler, context):
    assert handler({"laneway_probe": {"model": None, "version": None}}, context) == {"ready": True}
    assert handler({"laneway_probe": {"model": "scale", "version": "1"}}, context) == {
        "ready": True
    }
    answer = handler({"laneway_probe": {"model": "absent", "version": None}}, context)
    assert answer["ready"] is False
    assert "'absent'" in answer["error"]


def test_a_route_whose_model_is_not_in_the_package_is_404(handler, context):
    recorded = event("infer_json")
    recorded["routeKey"] = "POST /v2/models/pairs/infer"
    answer = handler(recorded, context)
    assert answer["statusCode"] == 404
    assert json.loads(answer["body"])["code"] == "model_not_found"
