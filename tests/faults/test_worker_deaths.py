"""Real worker processes that are killed or stand still while they run jobs of a real queue."""

from __future__ import annotations

import json
import signal
import time

from tests.faults.cases import (
    LEASE_S,
    entered,
    let_go,
    outcomes,
    start_held,
    submit,
    wait_settled,
)
from tests.faults.stage import VISIBILITY_S, wait_for
from tests.fixtures.invariants import check_jobs


def test_seven_of_ten_come_again_when_a_worker_is_killed_after_three(stage):
    worker = start_held(stage)
    done = [submit(stage, [float(n), 1.0]) for n in range(3)]
    held = [submit(stage, [float(n), 2.0], model="slow") for n in range(7)]
    wait_for(lambda: entered(stage, worker), what="the worker is in the slow jobs")
    wait_for(
        lambda: all(stage.row(key).status == "succeeded" for key in done),
        what="the three are published",
        timeout_s=20,
    )

    worker.kill()
    check_jobs(stage.rows(), [*done, *held], now=time.time())
    killed_at = time.monotonic()
    stage.start("worker")

    assert wait_settled(stage, [*done, *held]) == {"succeeded": 10}
    assert time.monotonic() - killed_at < LEASE_S + VISIBILITY_S + 20
    assert {stage.row(key).fence for key in done} == {1}
    assert 2 in {stage.row(key).attempt for key in held}
    assert {stage.row(key).attempt for key in held} <= {1, 2}
    answers = [json.loads(stage.result(stage.row(key)))["outputs"][0]["data"] for key in held]
    assert answers == [[2.0 * n, 4.0] for n in range(7)]


def test_a_worker_that_stood_still_past_its_lease_publishes_nothing(stage, hooks):
    zombie = start_held(stage)
    url = f"https://127.0.0.1:{hooks.port}/hook"
    key = submit(stage, [3.0, 4.0], model="slow", webhook=url)
    wait_for(lambda: entered(stage, zombie), what="the first worker is in the job")
    zombie.signal(signal.SIGSTOP)
    let_go(stage, zombie)
    stage.start("worker")
    stage.start("webhooks")
    wait_for(lambda: stage.row(key).status == "succeeded", what="another worker takes over")
    published = stage.row(key)

    zombie.signal(signal.SIGCONT)

    wait_for(lambda: zombie.said('"outcome":"lost"'), what="the first worker ends its run")
    wait_settled(stage, [key])
    assert stage.row(key).result == published.result
    assert (published.attempt, published.fence) == (2, 2)
    assert sorted(outcomes(stage, key)) == ["lost", "succeeded"]
    wait_for(lambda: stage.events.depth() == 0 and hooks.received, what="the webhook is told")
    assert {seen.headers["webhook-id"] for seen in hooks.received} == {f"evt_{key.id}_succeeded"}
