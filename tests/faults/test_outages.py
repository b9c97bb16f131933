"""Cases that take longer, of `make test-faults` alone; tests/flow has each in memory."""

from __future__ import annotations

import os
import signal
import time

from shared.jobs.messages import reference
from tests.faults.cases import (
    entered,
    let_go,
    outcomes,
    start_held,
    submit,
    wait_settled,
)
from tests.faults.stage import TENANT, VISIBILITY_S, wait_for


def test_a_second_delivery_waits_while_the_first_worker_still_runs_the_job(stage):
    first = start_held(stage)
    key = submit(stage, [1.0, 2.0], model="slow")
    wait_for(lambda: entered(stage, first), what="the first worker is in the job")
    before = stage.row(key)

    stage.queue.send(reference(key), tenant=TENANT)
    second = stage.start("worker")
    wait_for(second.ready, what="the second worker is ready")
    counts = ["ApproximateNumberOfMessages"]
    wait_for(
        lambda: (
            stage.sqs.get_queue_attributes(QueueUrl=stage.urls["async"], AttributeNames=counts)[
                "Attributes"
            ][counts[0]]
            == "0"
        ),
        what="the second worker has hidden the copy",
        timeout_s=20,
    )
    assert not entered(stage, second) or before.lease_until < time.time()
    let_go(stage, first)

    assert wait_settled(stage, [key]) == {"succeeded": 1}
    assert outcomes(stage, key).count("succeeded") == 1
    assert stage.row(key).fence <= 2


def test_a_job_that_kills_every_worker_fails_and_its_neighbours_succeed(stage):
    stage.start("sweeper")
    good = [submit(stage, [float(n), 1.0], model="deadly") for n in range(9)]
    bad = submit(stage, [-1.0, 0.0], model="deadly")

    killed = 0
    worker = stage.start("worker")
    end = time.monotonic() + 120
    while any(stage.row(key).finished_at is None for key in (*good, bad)):
        assert time.monotonic() < end, "the jobs did not end"
        if not worker.running():
            killed += 1
            assert worker.popen.returncode == -signal.SIGKILL
            worker = stage.start("worker")
        time.sleep(0.2)

    assert wait_settled(stage, [*good, bad]) == {"succeeded": 9, "failed": 1}
    assert killed == 3
    assert stage.row(bad).failure.code == "attempts_exhausted"
    assert all(stage.row(key).attempt <= 2 for key in good)


def test_a_consumer_that_may_not_run_for_a_while_loses_nothing(stage):
    keys = [submit(stage, [float(n), 1.0]) for n in range(12)]
    # As Lambda's poller does when the function is throttled: it receives and cannot invoke.
    refused, end = 0, time.monotonic() + 2 * VISIBILITY_S + 1
    while time.monotonic() < end:
        refused += len(stage.queue.receive(limit=10, wait_s=0))
        time.sleep(0.5)
    assert refused > len(keys)
    assert {stage.row(key).attempt for key in keys} == {0}

    stage.start("worker")

    assert wait_settled(stage, keys) == {"succeeded": 12}
    assert {stage.row(key).attempt for key in keys} == {1}


def test_jobs_survive_an_aws_that_answers_nobody_for_longer_than_a_call_waits(stage, emulator_pids):
    stage.start("sweeper")
    worker = stage.start("worker")
    wait_for(worker.ready, what="the worker is ready")
    keys = [submit(stage, [float(n), 1.0]) for n in range(40)]
    wait_for(
        lambda: any(row.status == "succeeded" for row in stage.rows()), what="the first job ends"
    )

    for pid in emulator_pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(7)  # longer than a client's read timeout: what was asked is asked again
    finally:
        for pid in emulator_pids:
            os.kill(pid, signal.SIGCONT)

    assert wait_settled(stage, keys) == {"succeeded": 40}
    assert worker.running()
    assert all(outcomes(stage, key).count("succeeded") <= 1 for key in keys)
