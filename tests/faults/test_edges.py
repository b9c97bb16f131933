"""Workers at the edges of what they have: of their time, their clock, their models and a row's size."""

from __future__ import annotations

import json
import shutil
import signal
import time

import pytest

from shared.jobs.submission import Submission
from shared.limits import LAMBDA_PAYLOAD_BYTES
from tests.faults.cases import entered, let_go, outcomes, start_held, submit, wait_settled
from tests.faults.stage import FUNCTION_TIMEOUT_S, TENANT, Stage, wait_for
from tests.fixtures.job_desk import tensor_body

SKEWED = '''"""Python runs this first: every clock of the process differs from the others' by so much."""

import os
import time

_time, _skew_s = time.time, float(os.environ["CLOCK_SKEW_S"])
time.time = lambda: _time() + _skew_s
'''
SKEW_S = 600
ROWS = 40
"""More than half of a stack's."""


def test_what_an_invocation_has_no_time_for_is_handed_back_and_costs_no_attempt(stage):
    """Jobs of so many rows that each runs by itself; the first takes all the time there is."""
    worker = start_held(stage)
    worker.signal(signal.SIGSTOP)
    body = tensor_body([[1.0, 2.0]] * ROWS)
    keys = [
        stage.jobs.submit(Submission(model="slow", body=body), tenant=TENANT).row.key
        for _ in range(4)
    ]
    worker.signal(signal.SIGCONT)
    wait_for(lambda: entered(stage, worker), what="the worker is in the first job")
    late = time.monotonic() + FUNCTION_TIMEOUT_S

    wait_for(lambda: time.monotonic() > late, what="the invocation's time is over")
    let_go(stage, worker)

    assert wait_settled(stage, keys) == {"succeeded": 4}
    rows = [stage.row(key) for key in keys]
    assert max(row.fence for row in rows) > 1, "nothing was handed back"
    assert {row.attempt for row in rows} == {1}


def start_skewed(stage, skew_s, start):
    """A worker whose clock differs."""
    folder = stage.folder / f"clock{skew_s}"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SKEWED)
    path = f"{folder}:{stage.environment()['PYTHONPATH']}"
    return start(PYTHONPATH=path, CLOCK_SKEW_S=skew_s)


def test_workers_whose_clocks_differ_by_minutes_end_each_job_once(stage):
    behind = start_skewed(stage, -SKEW_S, lambda **told: start_held(stage, **told))
    contested = submit(stage, [3.0, 4.0], model="slow")
    wait_for(lambda: entered(stage, behind), what="the worker behind is in the job")
    assert stage.row(contested).lease_until < time.time()  # by every other clock it has lapsed

    start_skewed(stage, SKEW_S, lambda **told: stage.start("worker", **told))
    stage.start("sweeper")
    keys = [submit(stage, [float(n), 1.0]) for n in range(20)]
    wait_for(lambda: stage.row(contested).status == "succeeded", what="another takes it over")
    let_go(stage, behind)

    wait_for(lambda: behind.said('"outcome":"lost"'), what="the first one's result is refused")
    assert wait_settled(stage, [contested, *keys]) == {"succeeded": 21}
    for key in (contested, *keys):
        assert outcomes(stage, key).count("succeeded") == 1


@pytest.fixture
def own_stage(tmp_path, fault_models, aws):
    """A stage whose models are its own, to be broken."""
    models = tmp_path / "own"
    shutil.copytree(fault_models, models)
    stage = Stage(tmp_path, models, aws)
    try:
        yield stage
    finally:
        stage.stop()


def test_a_model_file_that_changed_is_never_run_and_the_others_are_served(own_stage):
    file = own_stage.models / "plain" / "1" / "model.onnx"
    file.write_bytes(file.read_bytes() + b"x")
    own_stage.start("worker")
    refused = [submit(own_stage, [float(n), 1.0]) for n in range(2)]
    served = [submit(own_stage, [float(n), 2.0], model="slow") for n in range(3)]

    assert wait_settled(own_stage, [*refused, *served]) == {"succeeded": 3, "failed": 2}
    failures = [own_stage.row(key).failure for key in refused]
    assert {failure.code for failure in failures} == {"model_digest_mismatch"}


def test_a_model_that_cannot_be_loaded_waits_and_the_others_are_served(own_stage):
    stage, file = own_stage, own_stage.models / "plain" / "1" / "model.onnx"
    whole = file.read_bytes()
    file.unlink()
    stage.start("worker")
    waiting = [submit(stage, [float(n), 1.0]) for n in range(2)]
    served = [submit(stage, [float(n), 2.0], model="slow") for n in range(3)]

    wait_for(
        lambda: {stage.row(key).status for key in served} == {"succeeded"},
        what="the other models are served",
    )
    assert not {stage.row(key).status for key in waiting} & {"succeeded", "failed"}
    file.write_bytes(whole)

    assert wait_settled(stage, [*waiting, *served]) == {"succeeded": 5}
    answers = [json.loads(stage.result(stage.row(key)))["outputs"][0]["data"] for key in waiting]
    assert answers == [[2.0 * n, 2.0] for n in range(2)]


def test_a_result_that_no_answer_could_carry_is_on_s3_before_the_row_names_it(stage):
    rows = 500_000
    data = [value for n in range(rows) for value in (float(n % 1000) + 0.123456, 1.0)]
    tensor = {"name": "x", "shape": [rows, 2], "datatype": "FP32", "data": data}
    body = json.dumps({"inputs": [tensor]}).encode()
    key = stage.jobs.submit(Submission(model="plain", body=body), tenant=TENANT).row.key
    stage.start("worker", FUNCTION_TIMEOUT_S=60)

    assert wait_settled(stage, [key], timeout_s=120) == {"succeeded": 1}
    payload = stage.row(key).result.payload
    assert payload.inline is None
    assert payload.s3_key.startswith(f"results/{key.tenant}/{key.id}/")
    made = stage.result(stage.row(key))
    assert len(made) == payload.size_bytes > LAMBDA_PAYLOAD_BYTES
    assert json.loads(made)["outputs"][0]["shape"] == [rows, 2]
