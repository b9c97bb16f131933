"""What the realtime function does with its models before the first request, and between requests."""

from __future__ import annotations

import io
import json
import re
import shutil
from types import SimpleNamespace

import orjson
import pytest

from functions.realtime.service import RealtimeService, make_handler
from shared.catalog import parse_catalog
from shared.repository import compile_catalog, read_repository
from shared.schema.compile import export_validators
from shared.settings import RealtimeSettings

CONTEXT = SimpleNamespace(
    function_name="f",
    memory_limit_in_mb=1769,
    invoked_function_arn="arn",
    aws_request_id="i",
    get_remaining_time_in_millis=lambda: 9_000,
)


@pytest.fixture
def package(small_models, tmp_path):
    shutil.copytree(small_models, tmp_path / "models")
    return tmp_path


def catalog(package):
    compiled = compile_catalog(read_repository(package / "models"), pool="shared")
    return parse_catalog(compiled | {"validators": export_validators()})


def settings(**changes):
    return RealtimeSettings(stage="dev", pool="shared", **changes)


def service(package, **changes):
    return RealtimeService(
        settings(**changes), catalog=catalog(package), package=package, memory_mib=1769
    )


def infer_event(model, version=None, scopes="infer"):
    parts = f"/versions/{version}" if version else ""
    template = "/versions/{version}" if version else ""
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
    return {
        "routeKey": f"POST /v2/models/{model}{template}/infer",
        "rawPath": f"/v2/models/{model}{parts}/infer",
        "headers": {"content-type": "application/json"},
        "pathParameters": {"version": version} if version else None,
        "requestContext": {
            "authorizer": {"lambda": {"tenant": "acme", "principal": "key:k", "scopes": scopes}},
            "http": {"method": "POST"},
            "requestId": "r",
            "stage": "$default",
        },
        "body": json.dumps({"inputs": [tensor]}),
        "isBase64Encoded": False,
    }


def test_default_versions_are_loaded_before_the_first_request(package):
    handler = make_handler(settings(), catalog=catalog(package), package=package)
    (package / "models" / "scale" / "2" / "model.onnx").unlink()
    assert handler(infer_event("scale"), CONTEXT)["statusCode"] == 200


def test_other_versions_are_loaded_when_they_are_asked_for(package):
    handler = make_handler(settings(), catalog=catalog(package), package=package)
    (package / "models" / "scale" / "1" / "model.onnx").unlink()
    assert handler(infer_event("scale", "1"), CONTEXT)["statusCode"] == 503


def test_models_past_the_budget_are_loaded_when_they_are_asked_for(package):
    handler = make_handler(
        settings(session_budget_mib=0), catalog=catalog(package), package=package
    )
    for model in ("scale", "scale"):
        answer = handler(infer_event(model), CONTEXT)
        assert orjson.loads(answer["body"])["outputs"][0]["data"] == [3.0, 6.0]


def test_the_pool_is_ready_although_not_all_its_models_fit_the_budget(package):
    assert service(package, session_budget_mib=0).probe({"model": None}) == {"ready": True}


def test_a_model_that_cannot_be_loaded_is_logged_and_takes_no_other_with_it(package, capsys):
    (package / "models" / "scale" / "2" / "model.onnx").write_bytes(b"other")
    handler = make_handler(settings(), catalog=catalog(package), package=package)
    [line] = [orjson.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (line["level"], line["message"], line["model"]) == (
        "ERROR",
        "model not loaded",
        "scale/2",
    )
    assert handler(infer_event("scale", "1"), CONTEXT)["statusCode"] == 200


def test_a_run_ends_after_the_pools_timeout_however_long_the_function_may_take(package):
    handler = make_handler(settings(timeout_s=1), catalog=catalog(package), package=package)
    stuck = infer_event("stuck")
    tensor = {"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}
    stuck["body"] = json.dumps({"inputs": [tensor]})
    answer = orjson.loads(handler(stuck, CONTEXT)["body"])
    assert answer["code"] == "deadline_exceeded"
    assert re.search(r"it had (9\d\d|1000) ms left", answer["error"])


def test_a_probe_of_a_model_loads_it(package):
    asked = service(package, session_budget_mib=0)
    assert asked.probe({"model": "scale", "version": "1"}) == {"ready": True}
    (package / "models" / "scale" / "2" / "model.onnx").unlink()
    answer = asked.probe({"model": "scale", "version": None})
    assert answer["ready"] is False
    assert "missing" in answer["failed"]["scale/2"]


@pytest.mark.parametrize("scopes", ["infer", "infer:scale", "admin", "admin:scale", "read infer"])
def test_a_caller_with_the_scope_for_the_model_is_answered(package, scopes):
    handler = make_handler(settings(), catalog=catalog(package), package=package)
    assert handler(infer_event("scale", scopes=scopes), CONTEXT)["statusCode"] == 200


@pytest.mark.parametrize("scopes", ["", "read submit", "infer:shout", "infer:scales", "nonsense"])
def test_a_caller_without_it_is_refused_with_the_scopes_name(package, scopes):
    handler = make_handler(settings(), catalog=catalog(package), package=package)
    answer = handler(infer_event("scale", scopes=scopes), CONTEXT)
    body = json.loads(answer["body"])
    assert (answer["statusCode"], body["code"]) == (403, "forbidden")
    assert "infer or infer:scale" in body["error"]


@pytest.mark.parametrize(("role", "status"), [("asks", 200), ("reads", 403), ("another", 403)])
def test_a_signed_call_may_do_what_the_stage_grants_its_role(package, role, status):
    grants = {"role/asks": "infer:scale", "role/reads": "read"}
    handler = make_handler(settings(iam_grants=grants), catalog=catalog(package), package=package)
    event = infer_event("scale")
    arn = f"arn:aws:sts::123456789012:assumed-role/{role}/session"
    event["requestContext"]["authorizer"] = {"iam": {"userArn": arn}}

    assert handler(event, CONTEXT)["statusCode"] == status


def test_a_call_that_no_authorizer_saw_is_refused(package):
    handler = make_handler(settings(), catalog=catalog(package), package=package)
    event = infer_event("scale")
    del event["requestContext"]["authorizer"]
    assert handler(event, CONTEXT)["statusCode"] == 403


class Invoked:
    """Answers every Invoke alike and keeps what it was told."""

    def __init__(self, answer):
        self.answer, self.told = answer, []

    def invoke(self, **arguments):
        self.told.append(arguments)
        return {"Payload": io.BytesIO(orjson.dumps(self.answer))}


def async_event(**members):
    event = infer_event("scale") | members
    event["headers"] = {"prefer": "respond-async"}
    return event


def handing_over(package, client):
    return make_handler(
        settings(ingress_function="ingress"),
        catalog=catalog(package),
        package=package,
        lambda_client=client,
    )


def test_a_request_that_prefers_an_asynchronous_answer_is_handed_on_as_it_came(package):
    answered = {"statusCode": 202, "headers": {"location": "/x"}, "body": "{}"}
    client = Invoked(answered)
    event = async_event()
    assert handing_over(package, client)(event, CONTEXT) == answered
    [call] = client.told
    assert (call["FunctionName"], call["InvocationType"]) == ("ingress", "RequestResponse")
    told = orjson.loads(call["Payload"])
    assert told.pop("laneway_remaining_ms") == 8_500
    assert told == event


def test_a_body_that_cannot_be_handed_on_is_400(package):
    client = Invoked({})
    answer = handing_over(package, client)(async_event(body="\ud800"), CONTEXT)
    assert (answer["statusCode"], orjson.loads(answer["body"])["code"]) == (400, "malformed_body")
    assert client.told == []


def test_without_a_function_that_takes_them_requests_are_answered_on_the_spot(package):
    handler = make_handler(settings(), catalog=catalog(package), package=package)
    assert handler(async_event(), CONTEXT)["statusCode"] == 200
