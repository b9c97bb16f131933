"""Whatever sends a message says whose it is: SQS then serves the quiet tenants of a queue first.

That SQS does so is its own promise; these tests hold our side of it, path by path. What workers do for
fairness without it is in test_fair_shares.py. The adapter's
side (the tenant is the message's group) is in tests/contract/queues.
"""

from __future__ import annotations

import pytest

from shared.jobs.messages import event
from shared.jobs.retry import Retries
from shared.jobs.submission import Submission
from shared.results.rows import JobKey
from tests.fixtures.job_desk import Desk, tensor_body

BODY = tensor_body([[1.0, 2.0]])
TENANT = "acme"
HOOK = "https://hooks.example.com/laneway"


@pytest.fixture
def desk(small_models):
    return Desk(small_models)


def submit(desk, *, model="scale", tenant=TENANT, body=BODY, **options):
    submission = Submission(model=model, body=body, **options)
    return desk.accept.submit(submission, tenant=tenant).row.key


def submitted(desk):
    submit(desk)
    return desk.queues["shared", "async"]


def swept_because_never_sent(desk):
    submission = Submission(model="scale", body=BODY)
    key = JobKey(TENANT, "unsent")
    desk.store.create(desk.accept.new_row(submission, key=key, now=desk.clock()))
    desk.clock.advance(60)
    desk.sweeper().sweep()
    return desk.queues["shared", "async"]


def swept_because_lost(desk):
    submit(desk)
    desk.lose_messages()
    desk.clock.advance(600)
    desk.sweeper().sweep()
    return desk.queues["shared", "async"]


def forwarded_to_its_pool(desk):
    key = submit(desk, model="queued")
    queue = desk.queues["other", "async"]
    [delivery] = queue.receive(limit=10, wait_s=0)
    desk.queues["shared", "async"].send(delivery.body, tenant=TENANT)
    queue.acknowledge(delivery)
    desk.start().drain()
    assert desk.row(key).status == "queued"
    return queue


def retried(desk):
    failed = submit(desk, model="root", body=tensor_body([-1.0]))
    desk.start().drain()
    assert desk.row(failed).status == "failed"
    retries = Retries(
        store=desk.store,
        payloads=desk.payloads,
        queues=desk.queues,
        rules=desk.rules,
        clock=desk.clock,
    )
    retries.retry(failed)
    return desk.queues["shared", "async"]


def told_by_the_worker(desk):
    submit(desk, webhook=HOOK)
    desk.start().drain()
    return desk.events


def told_by_the_sweeper(desk):
    key = submit(desk, webhook=HOOK)
    desk.store.cancel(key, now=desk.clock())
    desk.clock.advance(60)
    desk.sweeper().sweep()
    return desk.events


def buried(desk):
    desk.queues["shared", "async"].send(event(JobKey(TENANT, "none")), tenant=TENANT)
    desk.start().drain()
    return desk.dead


@pytest.mark.parametrize(
    "path",
    [
        submitted,
        swept_because_never_sent,
        swept_because_lost,
        forwarded_to_its_pool,
        retried,
        told_by_the_worker,
        told_by_the_sweeper,
        buried,
    ],
)
def test_a_message_says_whose_it_is_whoever_sends_it(desk, path):
    queue = path(desk)

    [delivery] = queue.receive(limit=10, wait_s=0)

    assert delivery.tenant == TENANT


def test_a_sweeper_sends_for_each_tenant_its_own_messages(desk):
    keys = [submit(desk, tenant=tenant) for tenant in ("noisy", "noisy", "quiet")]
    desk.lose_messages()
    desk.clock.advance(600)

    desk.sweeper().sweep()

    found = desk.queues["shared", "async"].receive(limit=10, wait_s=0)
    assert sorted(delivery.tenant for delivery in found) == [key.tenant for key in keys]
