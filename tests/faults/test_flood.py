"""One tenant floods, another is quiet: what Laneway itself keeps apart, with real workers.

Within one queue SQS serves the quiet first, by the messages' groups, which no emulator does; and one tenant
has its share of the workers, which tests/flow/test_fair_shares.py shows with 10,000 jobs.
"""

from __future__ import annotations

import time

from shared.jobs.submission import Submission
from shared.queues.sqs import SqsQueue
from shared.results.store import JobKey
from tests.faults.cases import entered, let_go, start_held, wait_settled
from tests.faults.stage import VISIBILITY_S, wait_for
from tests.fixtures.job_desk import tensor_body

FLOOD = 25


def submit(stage, tenant, *, model="plain", **options):
    submission = Submission(model=model, body=tensor_body([[1.0, 2.0]]), **options)
    return stage.jobs.submit(submission, tenant=tenant).row.key


def test_a_flood_of_batch_jobs_keeps_no_async_job_waiting(stage):
    held = start_held(stage, CONSUMED=stage.urls["batch"])
    flood = [submit(stage, "noisy", model="slow", latency_class="batch") for _ in range(FLOOD)]
    wait_for(lambda: entered(stage, held), what="the workers of class batch are all taken")
    stage.start("worker")

    quiet = submit(stage, "quiet")

    wait_for(lambda: stage.row(quiet).status == "succeeded", what="the quiet tenant's job ends")
    assert {stage.row(key).finished_at for key in flood} == {None}
    let_go(stage, held)
    assert wait_settled(stage, [quiet, *flood]) == {"succeeded": FLOOD + 1}
    assert SqsQueue(stage.sqs, url=stage.urls["batch"]).depth() == 0


def test_every_message_of_a_flood_tells_sqs_whose_it_is(stage):
    """Also those that the sweeper sends, of rows whose submitter ended before it sent them."""
    flood = [submit(stage, "noisy") for _ in range(FLOOD)]
    quiet = submit(stage, "quiet")
    unsent = JobKey("quiet", "unsent")
    submission = Submission(model="plain", body=tensor_body([[1.0, 2.0]]))
    stage.store.create(stage.jobs.new_row(submission, key=unsent, now=time.time()))
    stage.start("sweeper")
    wait_for(lambda: stage.row(unsent).unsent_at is None, what="the sweeper sends the lost one")

    groups = {}

    def all_seen():
        for delivery in stage.queue.receive(limit=10, wait_s=0):
            groups[delivery.body] = delivery.tenant
        return len(groups) == FLOOD + 2

    wait_for(all_seen, what="every message is received", timeout_s=2 * VISIBILITY_S)
    assert sorted(groups.values()) == ["noisy"] * FLOOD + ["quiet"] * 2
    stage.start("worker")
    assert wait_settled(stage, [*flood, quiet, unsent]) == {"succeeded": FLOOD + 2}
