"""`laneway submit`, `jobs`, `wait` and `cancel` against a real HTTP server: what is sent, and what is shown."""

import json

import pytest

from tests.unit.client.recording_server import json_answer
from tests.unit.client.test_client_jobs import JOB

REQUEST = '{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}'


@pytest.fixture
def run(laneway, server):
    def run(*args, stdin=None):
        return laneway(*args, "--endpoint", server.endpoint, stdin=stdin)

    return run


def test_submit_sends_what_its_options_say(run, server):
    server.will_answer(json_answer(JOB, 202))

    result = run(
        *("submit", "iris", "--input", "-", "--class", "batch", "--ttl-s", 90),
        *("--run-timeout-s", 7, "--webhook", "https://example.com/h", "--version", "2"),
        *("--meta", "a=b=c", "--meta", "d=", "--high"),
        stdin=REQUEST,
    )

    assert result.exit_code == 0, result.output
    assert result.stdout == "j1\n"
    assert "laneway wait j1" in result.stderr
    assert json.loads(server.received[0].body) == {
        "model": "iris",
        "input": json.loads(REQUEST),
        "latency_class": "batch",
        "priority": "high",
        "ttl_s": 90,
        "timeout_s": 7,
        "webhook": "https://example.com/h",
        "version": "2",
        "metadata": {"a": "b=c", "d": ""},
    }


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--meta", "novalue"), "KEY=VALUE"),
        (("--class", "realtime"), "laneway infer"),
        (("--ttl-s", "0"), "ttl-s"),
        (("--file", "x.png", "--text"), "choose one"),
    ],
)
def test_an_option_that_says_nothing_is_a_usage_error_and_nothing_is_sent(
    run, server, options, word
):
    result = run("submit", "iris", "--input", "-", *options, stdin=REQUEST)

    assert result.exit_code == 2
    assert word in result.stderr
    assert server.received == []


def test_no_jobs_is_said_and_is_no_error(run, server):
    server.will_answer(json_answer({"jobs": []}))

    result = run("jobs", "--status", "failed")

    assert (result.exit_code, result.stdout) == (0, "")
    assert "no job" in result.stderr


def test_a_table_of_jobs_keeps_each_id_whole(run, server):
    name = "k-" + "0123456789" * 4
    server.will_answer(json_answer({"jobs": [JOB | {"id": name}]}))

    result = run("jobs")

    assert name in result.stdout
    assert "2026-11-22 00:00:00" in result.stdout


def test_wait_ends_with_the_reason_of_a_failed_job(run, server):
    failure = {"error": "it broke", "code": "model_run_failed"}
    server.will_answer(json_answer(JOB), json_answer(JOB | {"status": "failed", "error": failure}))

    result = run("wait", "j1")

    assert result.exit_code == 1
    assert "model_run_failed: it broke" in result.stderr


def test_a_wait_that_is_over_says_that_the_job_goes_on(run, server):
    server.will_answer(json_answer(JOB))

    result = run("wait", "j1", "--wait-timeout-s", "0.05")

    assert result.exit_code == 1
    assert "it goes on" in result.stderr


def test_cancel_of_a_job_that_had_ended_says_how(run, server):
    server.will_answer(
        json_answer(JOB | {"status": "canceled"}), json_answer(JOB | {"status": "succeeded"})
    )

    canceled, ended = run("cancel", "j1"), run("cancel", "j1")

    assert (canceled.exit_code, ended.exit_code) == (0, 1)
    assert "had ended before: succeeded" in ended.stderr
    assert [call.path for call in server.received] == ["/v2/jobs/j1/cancel"] * 2


@pytest.mark.parametrize("command", [("jobs", "retry", "j1"), ("dlq", "list"), ("dlq", "redrive")])
def test_an_operators_command_without_a_local_service_tells_the_two_ways_out(laneway, command):
    result = laneway(*command)

    assert result.exit_code == 1
    assert "make dev" in result.stderr
    assert "--stage" in result.stderr
