"""What is logged of a request: one line with its metrics, and nothing that the caller sent."""

from __future__ import annotations

import re

import orjson
import pytest

CANARY = "canary-in-the-body"


@pytest.fixture
def lines(capsys):
    """The lines that calls wrote, read from stdout as CloudWatch would."""
    capsys.readouterr()

    def read():
        return [orjson.loads(line) for line in capsys.readouterr().out.splitlines()]

    return read


def requests_in(lines):
    return [line for line in lines if line["message"] == "request"]


def ask(service, model, data, *, kind="FP32", shape=None, name="x", **headers):
    tensor = {"name": name, "shape": shape or [len(data)], "datatype": kind, "data": data}
    return service.request(
        "POST", f"/v2/models/{model}/infer", body={"inputs": [tensor]}, headers=headers
    )


def test_a_request_writes_one_line_that_holds_its_metrics(laneway_service, lines):
    answer = ask(laneway_service, "scale", [1, 2], shape=[1, 2])
    [line] = requests_in(lines())
    assert line["service"] == "laneway-realtime"
    assert (line["stage"], line["pool"]) == ("local", "shared")
    assert (line["model"], line["version"], line["status"]) == ("scale", "2", 200)
    assert line["requests"] == 1
    assert line["response_bytes"] == len(answer.body)
    assert 0 < line["model_ms"] <= line["latency_ms"]
    [directive] = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "Laneway"
    assert ["stage", "pool", "model", "version"] in directive["Dimensions"]


def test_every_metric_and_dimension_of_a_line_is_a_member_of_it(laneway_service, lines):
    ask(laneway_service, "scale", [1, 2], shape=[1, 2])
    ask(laneway_service, "scale", [1])
    laneway_service.request("GET", "/v2/models/absent")
    laneway_service.request("POST", "/v2/models/scale/versions/9/infer", body={})
    found = requests_in(lines())
    assert len(found) == 4
    for line in found:
        for directive in line["_aws"]["CloudWatchMetrics"]:
            named = {metric["Name"] for metric in directive["Metrics"]}
            named |= {name for names in directive["Dimensions"] for name in names}
            assert named <= line.keys()


def test_a_refused_request_counts_as_the_callers_error(laneway_service, lines):
    ask(laneway_service, "scale", [1])
    [line] = requests_in(lines())
    assert (line["status"], line["code"]) == (400, "signature_mismatch")
    assert (line["client_errors"], line["server_errors"]) == (1, 0)


def test_names_that_a_caller_makes_up_never_become_dimensions(laneway_service, lines):
    laneway_service.request("POST", "/v2/models/made-up/infer", body={})
    laneway_service.request("POST", "/v2/models/scale/versions/made-up/infer", body={})
    without_model, without_version = requests_in(lines())
    assert "model" not in without_model
    assert without_version["model"] == "scale"
    assert "version" not in without_version


def test_the_id_of_an_error_is_the_id_of_its_line(laneway_service, lines):
    answer = ask(laneway_service, "scale", [1])
    [line] = requests_in(lines())
    assert answer.json()["request_id"] == line["request_id"]


def test_a_line_tells_the_tenant_and_which_key_it_was(laneway_service, lines):
    laneway_service.request("GET", "/v2")
    [line] = requests_in(lines())
    assert line["tenant"] == "default"
    assert re.fullmatch(r"key:[0-9a-f]{16}", line["principal"])


def test_neither_body_nor_tensor_nor_key_is_ever_logged(laneway_service, capsys):
    capsys.readouterr()
    for data in (["break"], [CANARY], [""]):
        ask(laneway_service, "shout", data, kind="BYTES", name="text")
    ask(laneway_service, "shout", [CANARY], kind="BYTES", name=CANARY)
    ask(laneway_service, "scale", [CANARY])
    laneway_service.request("POST", "/v2/models/scale/infer", body=CANARY.encode())
    laneway_service.request("GET", "/v2", headers={"x-api-key": CANARY})
    logged = "".join(capsys.readouterr())
    assert "request" in logged
    assert CANARY not in logged
    assert "secret-value" not in logged
    assert laneway_service.api_key not in logged


def test_a_defect_of_a_transform_is_500_and_its_trace_is_logged_without_values(
    laneway_service, lines
):
    answer = ask(laneway_service, "shout", ["break"], kind="BYTES", name="text")
    assert (answer.status, answer.json()["code"]) == (500, "transform_failed")
    assert "secret-value" not in answer.json()["error"]
    [failure] = [line for line in lines() if line["message"] == "failure"]
    assert failure["level"] == "ERROR"
    assert failure["request_id"] == answer.json()["request_id"]
    assert [item["type"] for item in failure["stack_trace"]] == ["TransformFailedError", "KeyError"]
    assert failure["stack_trace"][1]["frames"][-1]["function"] == "preprocess"
