"""The webhooks' function as a process, before receivers of every kind and addresses that lead inside."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from shared.jobs.submission import Submission
from shared.results.store import JobKey
from tests.faults.cases import submit, wait_settled
from tests.faults.stage import TENANT, wait_for
from tests.fixtures.job_desk import tensor_body
from tests.fixtures.receiver import drip, flood, reply

INSIDE = [
    "https://169.254.169.254/latest/meta-data",
    "https://0xA9FEA9FE/",
    "https://[::ffff:169.254.169.254]/",
    "https://127.0.0.1:9001/2015-03-31/functions",
]
TIMEOUT_S = 30
"""Of the function, in the deployed stage 60: longer than the five seconds that a receiver has."""


def test_an_address_inside_is_blocked_once_and_its_job_untouched(stage, hooks):
    keys = []
    for number, url in enumerate(INSIDE):
        key = JobKey(TENANT, f"inside-{number}")
        submission = Submission(model="plain", body=tensor_body([[1.0, 2.0]]))
        row = stage.jobs.new_row(submission, key=key, now=time.time())
        stage.store.create(replace(row, webhook=url))  # past the check of every submission
        keys.append(key)
    for role in ("worker", "webhooks", "sweeper"):
        stage.start(role)

    wait_for(
        lambda: stage.dead.depth() == len(INSIDE), what="every event is put aside", timeout_s=60
    )

    dead = stage.dead.receive(limit=10, wait_s=0)
    assert all(delivery.attributes["reason"].startswith("WEBHOOK_BLOCKED: ") for delivery in dead)
    for delivery in dead:
        stage.dead.acknowledge(delivery)
    assert wait_settled(stage, keys) == {"succeeded": len(INSIDE)}
    assert stage.events.depth() == 0
    assert hooks.connections == 0
    assert stage.logs("webhooks").count("WEBHOOK_BLOCKED") == len(INSIDE)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(reply(500), id="500"),
        pytest.param(drip(b"HTTP/1.1 200 OK\r\n", b"x"), id="slowly"),
        pytest.param(reply(302, "Location: https://example.com/elsewhere"), id="redirect"),
    ],
)
def test_a_receiver_that_does_not_accept_is_asked_again_under_the_same_id(stage, hooks, answer):
    hooks.answers.append(answer)
    key = submit(stage, [1.0, 2.0], webhook=f"https://127.0.0.1:{hooks.port}/hook")
    stage.start("worker")
    stage.start("webhooks", FUNCTION_TIMEOUT_S=TIMEOUT_S)

    wait_for(lambda: len(hooks.received) == 2, what="the second attempt", timeout_s=60)

    assert {seen.headers["webhook-id"] for seen in hooks.received} == {f"evt_{key.id}_succeeded"}
    assert len({seen.body for seen in hooks.received}) == 1
    wait_for(lambda: stage.events.depth() == 0, what="the event is done with")
    assert wait_settled(stage, [key]) == {"succeeded": 1}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(reply(410), id="410"),
        pytest.param(flood(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"), id="1 GB"),
    ],
)
def test_a_receiver_that_is_gone_or_floods_is_asked_once(stage, hooks, answer):
    hooks.answers.append(answer)
    key = submit(stage, [1.0, 2.0], webhook=f"https://127.0.0.1:{hooks.port}/hook")
    stage.start("worker")
    stage.start("webhooks", FUNCTION_TIMEOUT_S=TIMEOUT_S)

    wait_for(
        lambda: hooks.received and stage.events.depth() == 0,
        what="the event is done with",
        timeout_s=60,
    )

    assert len(hooks.received) == 1
    assert hooks.sent_bytes < 50_000_000
    assert wait_settled(stage, [key]) == {"succeeded": 1}
