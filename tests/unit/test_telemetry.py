from __future__ import annotations

import io
import time
from types import SimpleNamespace

import orjson
import pytest

from shared.errors import ModelRunError
from shared.telemetry import RequestFacts, Telemetry

CONTEXT = SimpleNamespace(
    function_name="f", memory_limit_in_mb=1769, invoked_function_arn="arn", aws_request_id="i"
)


def facts(**changes):
    return RequestFacts("id-1", time.perf_counter_ns(), **changes)


def telemetry(**changes):
    settings = {"service": "test-telemetry", "stage": "dev", "pool": "shared"} | changes
    return Telemetry(**settings)


@pytest.fixture
def lines(capsys):
    def read():
        return [orjson.loads(line) for line in capsys.readouterr().out.splitlines()]

    return read


def test_only_the_first_request_of_an_environment_is_a_cold_start(lines):
    written = telemetry()
    written.request(facts(), CONTEXT)
    written.request(facts(), CONTEXT)
    first, second = lines()
    assert (first["cold_start"], first["cold_starts"]) == (True, 1)
    assert (second["cold_start"], second["cold_starts"]) == (False, 0)


def test_an_environment_made_ahead_has_no_cold_start(lines, monkeypatch):
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "provisioned-concurrency")
    telemetry().request(facts(), CONTEXT)
    assert lines()[0]["cold_start"] is False


def test_the_metrics_are_written_at_every_log_level(lines):
    telemetry(service="test-telemetry-quiet", log_level="CRITICAL").request(facts(), CONTEXT)
    assert lines()[0]["requests"] == 1


@pytest.mark.parametrize(
    ("status", "client_errors", "server_errors"),
    [(200, 0, 0), (400, 1, 0), (413, 1, 0), (501, 1, 0), (500, 0, 1), (503, 0, 1)],
)
def test_an_error_is_counted_for_whose_it_is(lines, status, client_errors, server_errors):
    telemetry().request(facts(status=status), CONTEXT)
    [line] = lines()
    assert (line["client_errors"], line["server_errors"]) == (client_errors, server_errors)


def test_a_line_has_the_field_names_of_powertools(lines, monkeypatch):
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-65f1c0de-0123;Parent=1;Sampled=0")
    telemetry().request(facts(), CONTEXT)
    [line] = lines()
    assert line["level"] == "INFO"
    assert line["service"] == "test-telemetry"
    assert line["xray_trace_id"] == "1-65f1c0de-0123"
    assert {"message", "timestamp", "cold_start", "function_name", "function_arn"} <= line.keys()
    assert {"function_memory_size", "function_request_id"} <= line.keys()


def test_the_timestamp_of_a_line_is_the_one_of_its_metrics(lines):
    telemetry().request(facts(), CONTEXT)
    [line] = lines()
    text, offset = line["timestamp"][:23], line["timestamp"][23:]
    seconds = time.mktime(time.strptime(text[:19], "%Y-%m-%d %H:%M:%S"))
    assert offset == time.strftime("%z")
    assert abs(seconds * 1000 + int(text[20:]) - line["_aws"]["Timestamp"]) <= 1


@pytest.mark.parametrize(
    ("known", "dimensions"),
    [
        ({}, [["stage", "pool"]]),
        ({"model": "m"}, [["stage", "pool"], ["stage", "pool", "model"]]),
        (
            {"model": "m", "version": "1"},
            [["stage", "pool"], ["stage", "pool", "model"], ["stage", "pool", "model", "version"]],
        ),
    ],
)
def test_metrics_have_the_dimensions_that_are_known(lines, known, dimensions):
    telemetry().request(facts(**known), CONTEXT)
    [directive] = lines()[0]["_aws"]["CloudWatchMetrics"]
    assert directive["Dimensions"] == dimensions


def test_model_time_is_a_metric_only_of_requests_that_ran(lines):
    written = telemetry()
    written.request(facts(), CONTEXT)
    written.request(facts(model_ms=0.5), CONTEXT)
    for line, there in zip(lines(), (False, True), strict=True):
        [directive] = line["_aws"]["CloudWatchMetrics"]
        units = {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]}
        assert ("model_ms" in units) is there
        assert units["latency_ms"] == "Milliseconds"
        assert units["request_bytes"] == "Bytes"


def break_twice():
    try:
        {}["secret-value"]
    except KeyError as cause:
        raise RuntimeError("secret-value") from cause


def test_a_failure_is_logged_as_types_and_frames_of_the_whole_chain(lines):
    try:
        break_twice()
    except RuntimeError as error:
        telemetry().failure(error, facts(model="m"), CONTEXT)
    [line] = lines()
    assert "secret-value" not in orjson.dumps(line).decode()
    assert [item["type"] for item in line["stack_trace"]] == ["RuntimeError", "KeyError"]
    assert line["stack_trace"][0]["frames"][-1]["file"] == __file__
    assert (line["level"], line["model"], line["exception_name"]) == ("ERROR", "m", "RuntimeError")


def test_what_onnxruntime_says_is_in_the_log_alone(lines):
    error = ModelRunError("the model failed", detail="allocation of ... bytes failed")
    telemetry().failure(error, facts(model="m"), CONTEXT)
    [line] = lines()
    assert line["detail"] == "allocation of ... bytes failed"
    assert error.body() == {"error": "the model failed", "code": "model_run_failed"}


def test_a_line_goes_to_the_file_behind_stdout_in_one_write(tmp_path, monkeypatch):
    """A buffered stdout keeps what is printed; the line is there at once, and whole."""
    path = tmp_path / "log"
    with path.open("w") as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        telemetry().request(facts(), CONTEXT)
        assert orjson.loads(path.read_text())["request_id"] == "id-1"


def test_lines_follow_stdout_where_it_is_replaced(capsys, monkeypatch):
    written = telemetry()
    written.request(facts(), CONTEXT)
    with monkeypatch.context() as patch, io.StringIO() as other:
        patch.setattr("sys.stdout", other)
        written.request(facts(model="m"), CONTEXT)
        assert orjson.loads(other.getvalue())["model"] == "m"
    written.request(facts(), CONTEXT)

    assert len(capsys.readouterr().out.splitlines()) == 2
