"""How a function's log line is told to a person."""

from __future__ import annotations

import json

import pytest

from cli.dev.logs import render

NOON_MS = 1_795_262_400_000


def told(message):
    line = render(NOON_MS, "shared-realtime", message)
    return None if line is None else line.plain


def request(**fields):
    return json.dumps({"level": "INFO", "message": "request", "latency_ms": 12.34, **fields})


def test_a_request_is_one_line_with_status_model_and_times():
    line = told(request(status=200, model="iris", version="2", model_ms=3.21))
    assert "shared-realtime" in line
    assert line.endswith("200 iris 2  12.3 ms, model 3.2 ms")


def test_a_cold_start_is_said():
    assert told(request(status=200, model="iris", cold_start=True)).endswith("cold start")


def test_an_act_says_what_was_done_to_what():
    act = {"message": "audit", "audit": "deploy", "model": "iris", "version": "2", "outcome": "ok"}
    assert told(json.dumps(act)).endswith("deploy iris 2")
    refused = {"message": "audit", "audit": "submit", "batch_id": "u-1", "outcome": "not_found"}
    assert told(json.dumps(refused)).endswith("submit u-1  not_found")


@pytest.mark.parametrize(("status", "colour"), [(200, "green"), (404, "yellow"), (500, "red")])
def test_the_status_has_the_colour_of_its_kind(status, colour):
    line = render(NOON_MS, "ingress", request(status=status))
    styles = [str(span.style) for span in line.spans if line.plain[span.start :].startswith("20")]
    styles += [
        str(span.style) for span in line.spans if str(status) in line.plain[span.start : span.end]
    ]
    assert any(colour in style for style in styles)


def test_a_refusal_has_its_code():
    assert told(request(status=404, code="model_not_found")).endswith("model_not_found")


@pytest.mark.parametrize(
    "message",
    [
        "START RequestId: 1 Version: 2",
        "END RequestId: 1",
        "REPORT RequestId: 1\tDuration: 2 ms",
        "",
    ],
)
def test_what_only_the_platform_cares_about_is_left_out(message):
    assert told(message) is None


def test_an_error_keeps_its_frames_the_cause_first():
    frames = [{"file": "transform.py", "line": 7, "function": "preprocess"}]
    trace = [
        {"type": "TransformError", "module": "shared.errors", "frames": []},
        {"type": "KeyError", "module": "builtins", "frames": frames},
    ]
    line = told(
        json.dumps(
            {
                "level": "ERROR",
                "message": "failure",
                "exception_name": "KeyError",
                "stack_trace": trace,
            }
        )
    )
    assert line.splitlines()[0].endswith("ERROR failure KeyError")
    assert "transform.py:7 in preprocess" in line
    assert line.index("builtins.KeyError") < line.index("shared.errors.TransformError")


def test_a_plain_print_is_shown_as_it_is():
    assert told("hello from the transform").endswith("hello from the transform")


def test_a_granted_call_is_not_told_twice_and_a_refused_one_is_told():
    assert told(json.dumps({"message": "authorization", "allowed": True})) is None
    assert told(json.dumps({"message": "authorization", "allowed": False})).endswith(
        "refused: not a valid key"
    )


def job(**fields):
    told_of = {"job_id": "order-42", "model": "iris", "version": "2", "attempts": 1, "code": "ok"}
    return json.dumps(
        {"level": "INFO", "message": "job", "outcome": "succeeded"} | told_of | fields
    )


def test_a_job_is_one_line_with_its_end_model_times_and_id():
    line = told(job(run_ms=3.21, queue_ms=84.4, rows_stacked=1))
    assert line.endswith("succeeded iris 2  3.2 ms, waited 84 ms  job order-42")


def test_a_job_that_failed_has_its_code_and_how_often_it_was_tried():
    line = told(job(outcome="failed", code="attempts_exhausted", attempts=3, rows_stacked=7))
    assert line.endswith(
        "failed iris 2  7 rows together, attempt 3  attempts_exhausted  job order-42"
    )


def test_a_delivery_that_ran_nothing_says_why():
    assert told(job(outcome="duplicate", status=0)).endswith("duplicate iris 2    job order-42")


def test_a_webhook_is_one_line_with_what_came_of_it():
    fields = {"message": "webhook", "job_id": "order-42", "attempt": 2, "ms": 12.3}
    delivered = told(json.dumps(fields | {"code": "WEBHOOK_DELIVERED", "status": 204}))
    failed = told(json.dumps(fields | {"code": "WEBHOOK_FAILED", "reason": "timeout"}))
    assert delivered.endswith("WEBHOOK_DELIVERED 204  12.3 ms, attempt 2  job order-42")
    assert failed.endswith("WEBHOOK_FAILED 12.3 ms, attempt 2  timeout  job order-42")


def test_a_pass_of_the_sweeper_is_told_when_it_found_something():
    assert told(json.dumps({"message": "sweep", "stage": "local"})) is None
    found = told(json.dumps({"message": "sweep", "swept_sent": 2, "swept_expired": 1}))
    assert found.endswith("swept: 2 sent, 1 expired")


def metrics(*names):
    directive = {"Metrics": [{"Name": name, "Unit": "Count"} for name in names]}
    return {"_aws": {"Timestamp": 0, "CloudWatchMetrics": [directive]}}


@pytest.mark.parametrize("name", ["device_busy", "drain_ms", "interruptions"])
def test_a_line_that_is_a_metric_alone_is_left_out(name):
    assert told(json.dumps({"message": name, name: 12.5, **metrics(name)})) is None


def test_a_chunk_is_told_though_it_has_metrics():
    line = {"level": "INFO", "message": "chunk", "chunk": 3, **metrics("chunks", "chunk_ms")}
    assert told(json.dumps(line)).endswith("INFO chunk")


def test_the_runtimes_words_on_a_run_that_failed_are_below_its_job():
    line = told(job(outcome="failed", code="model_run_failed", detail="Gather: out of bounds"))
    assert line.endswith("job order-42\n    Gather: out of bounds")
