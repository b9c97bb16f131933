"""Jobs of a model that needs a gpu, on the deployed service: the worker runs them on the CPU provider."""

from __future__ import annotations

import os
import signal

import pytest

from shared.inference.golden import GOLDEN_FILE, differences, read_cases
from tests.e2e.calls import call, ended
from tests.e2e.local_service import PROJECT, REDEPLOY_TIMEOUT_S

pytestmark = pytest.mark.deployed

MODEL = "text-recognition"
WAITING = 40
"""More than two stacks of the model."""


@pytest.fixture(scope="module")
def case():
    return read_cases(PROJECT / "models" / MODEL / GOLDEN_FILE)[0]


def submit(service, case, **options):
    submission = {"model": MODEL, "latency_class": "async", "input": case.request, **options}
    accepted = call(service, "POST", "/v2/jobs", json=submission)
    assert accepted.status_code == 202, accepted.text
    return accepted.json()["id"]


def assert_golden(case, answer):
    assert answer.status_code == 200, answer.text
    assert differences(case, {item["name"]: item for item in answer.json()["outputs"]}) == []


def infer(service, case, **headers):
    return call(service, "POST", f"/v2/models/{MODEL}/infer", json=case.request, headers=headers)


def test_a_job_over_http_has_the_answer_of_the_original_library(service, case):
    job = submit(service, case)

    assert ended(service, f"/v2/jobs/{job}")["status"] == "succeeded"
    assert_golden(case, call(service, "GET", f"/v2/jobs/{job}/result"))


def test_a_caller_who_waits_is_answered_on_the_spot(service, case):
    answer = infer(service, case, prefer="respond-async, wait=20")

    assert "wait=20" in answer.headers["preference-applied"]
    assert_golden(case, answer)


def test_a_realtime_call_is_refused_with_the_way_out(service, case):
    refused = infer(service, case)

    assert refused.status_code == 400
    assert "Prefer: respond-async" in refused.json()["error"]


def test_a_job_of_high_priority_overtakes_those_that_wait(service, case):
    worker = service.worker()
    os.kill(worker, signal.SIGSTOP)
    try:
        normal = [submit(service, case) for _ in range(WAITING)]
        high = submit(service, case, priority="high")
    finally:
        os.kill(worker, signal.SIGCONT)

    jobs = [ended(service, f"/v2/jobs/{job}") for job in normal]
    overtaken = ended(service, f"/v2/jobs/{high}")
    assert {job["status"] for job in (*jobs, overtaken)} == {"succeeded"}
    later = [job for job in jobs if job["finished_at"] > overtaken["finished_at"]]
    assert len(later) >= WAITING // 4, "hardly a job that was there before it ended after it"


def test_a_worker_that_is_killed_is_started_again(service, case):
    mark = len(service.lines)
    killed = service.worker()
    os.kill(killed, signal.SIGKILL)

    service.wait_for("the worker of pool heavy ended", timeout_s=30, after=mark)
    service.wait_for("INFO started", timeout_s=60, after=mark)
    assert service.worker() != killed
    # The first may be given to the receive of the dead one: it is visible again after seconds.
    jobs = [submit(service, case) for _ in range(2)]
    assert {ended(service, f"/v2/jobs/{job}")["status"] for job in jobs} == {"succeeded"}


def test_a_changed_transform_starts_the_worker_anew(service, case):
    path, before = service.models / MODEL / "transform.py", service.worker()
    mark = len(service.lines)

    path.write_text(path.read_text() + "\n# changed\n")

    said = service.wait_for("heavy-worker:", timeout_s=REDEPLOY_TIMEOUT_S, after=mark)
    assert "✓ redeployed" in service.lines[said]
    assert service.worker() != before
    job = submit(service, case)
    assert ended(service, f"/v2/jobs/{job}")["status"] == "succeeded"
