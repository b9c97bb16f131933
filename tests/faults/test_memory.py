"""Real processes under a ceiling of memory: a run that asks for more fails alone, and what it took comes back."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from shared.settings import RealtimeSettings
from tests.faults.cases import submit, wait_settled
from tests.faults.stage import Stage, wait_for
from tests.faults.test_long_worker import LongStage, ready

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="macOS holds no ceiling")

MIB = 1 << 20
FUNCTION_MIB = 1000
CEILING_BYTES = 900 * MIB
TOO_MANY = 6e7
"""240 MB, then as much again, and twice that: the third is what there is no memory for."""
SLACK_BYTES = 100 * MIB
"""Less than the first of these."""

REALTIME = """
import json, sys
from types import SimpleNamespace
from functions.realtime.handler import handler

context = SimpleNamespace(
    function_name="f", memory_limit_in_mb=1, invoked_function_arn="arn", aws_request_id="i",
    get_remaining_time_in_millis=lambda: 30_000,
)
for line in sys.stdin:
    print("ANSWER", json.dumps(handler(json.loads(line), context)), flush=True)
"""


def held_bytes(pid):
    """What the process may write to, as the ceiling counts it."""
    words = Path(f"/proc/{pid}/statm").read_text().split()
    return int(words[5]) * resource.getpagesize()


def infer_event(model, rows):
    flat = [number for row in rows for number in row]
    tensor = {"name": "x", "shape": [len(rows), 2], "datatype": "FP32", "data": flat}
    called = {"tenant": "acme", "principal": "key:k", "scopes": "infer"}
    return {
        "routeKey": f"POST /v2/models/{model}/infer",
        "rawPath": f"/v2/models/{model}/infer",
        "headers": {"content-type": "application/json"},
        "requestContext": {
            "authorizer": {"lambda": called}, "http": {"method": "POST"}, "requestId": "r",
        },
        "body": json.dumps({"inputs": [tensor]}),
        "isBase64Encoded": False,
    }  # fmt: skip


@pytest.fixture
def realtime(tmp_path, fault_models):
    """Asks the real entry point, in an environment of its own with so much memory."""
    laid_out = SimpleNamespace(folder=tmp_path, models=fault_models)
    Stage._package(laid_out)
    told = RealtimeSettings(stage="local", pool="shared").to_env()
    environment = {
        **told,
        "PYTHONPATH": str(laid_out.package),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(FUNCTION_MIB),
    }
    with subprocess.Popen(
        [sys.executable, "-c", REALTIME], cwd=tmp_path, env=environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip

        def ask(model, rows):
            process.stdin.write(json.dumps(infer_event(model, rows)) + "\n")
            process.stdin.flush()
            lines = iter(process.stdout.readline, "")
            answer = next(line for line in lines if line.startswith("ANSWER "))
            said = json.loads(answer.removeprefix("ANSWER "))
            return said["statusCode"], json.loads(said["body"])

        yield ask, process.pid
        process.stdin.close()
        process.wait(30)


def test_realtime_refuses_a_run_that_asks_for_too_much_and_serves_on(realtime):
    ask, pid = realtime
    assert ask("greedy", [[3.0, 4.0]])[0] == 200
    before_bytes = held_bytes(pid)

    status, refusal = ask("greedy", [[TOO_MANY, 4.0]])

    assert (status, refusal["code"]) == (500, "model_limit_exceeded")
    assert held_bytes(pid) < before_bytes + SLACK_BYTES
    for model, expected in (("plain", [6.0, 8.0]), ("greedy", [3.0, 4.0])):
        status, answer = ask(model, [[3.0, 4.0]])
        assert (status, answer["outputs"][0]["data"]) == (200, expected)


def test_more_rows_than_are_meant_are_their_callers_own_fault(realtime):
    ask, pid = realtime
    assert ask("greedy", [[3.0, 4.0]])[0] == 200
    before_bytes = held_bytes(pid)

    status, refusal = ask("greedy", [[TOO_MANY, 4.0]] * 65)

    assert (status, refusal["code"], refusal["field"]) == (413, "too_large", "inputs")
    assert "send at most 64 a request" in refusal["error"]
    assert held_bytes(pid) < before_bytes + SLACK_BYTES


def go_through(stage, worker):
    """One job that asks for too much, in the midst of others; the worker is the same one afterwards."""
    first = [submit(stage, [3.0, 4.0], model=model) for model in ("greedy", "plain")]
    assert wait_settled(stage, first) == {"succeeded": 2}
    before_bytes = held_bytes(worker.pid)

    greedy = submit(stage, [TOO_MANY, 4.0], model="greedy")
    others = [
        submit(stage, [float(n), 4.0], model=model)
        for n in range(3)
        for model in ("greedy", "plain")
    ]

    assert wait_settled(stage, [*first, greedy, *others]) == {"succeeded": 8, "failed": 1}
    failure = stage.row(greedy).failure
    assert (failure.status_code, failure.code) == (500, "model_limit_exceeded")
    wait_for(
        lambda: held_bytes(worker.pid) < before_bytes + SLACK_BYTES, what="its memory comes back"
    )
    again = submit(stage, [5.0, 6.0], model="greedy")
    assert wait_settled(stage, [*first, greedy, *others, again]) == {"succeeded": 9, "failed": 1}
    assert worker.running()


def test_a_queue_worker_fails_the_job_that_asks_for_too_much_and_runs_the_others(stage):
    worker = stage.start("worker", AWS_LAMBDA_FUNCTION_MEMORY_SIZE=FUNCTION_MIB)

    go_through(stage, worker)


def test_a_long_lived_worker_does_the_same(tmp_path, fault_models, aws):
    stage = LongStage(tmp_path, fault_models, aws)
    try:
        worker = stage.start_long()
        wait_for(lambda: ready(worker), what="the worker is ready")
        resource.prlimit(worker.pid, resource.RLIMIT_DATA, (CEILING_BYTES, CEILING_BYTES))

        go_through(stage, worker)
    finally:
        stage.stop()
