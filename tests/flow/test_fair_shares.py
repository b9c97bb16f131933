"""A tenant with 10,000 jobs queued, and one that has a job now and then: what the quiet one waits.

The real handler on a first-in-first-out queue, which knows nothing of tenants, in virtual time. What
takes time is what takes it on AWS: calls, and runs. SQS's own fairness would come on top.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest

from functions.queue_worker.service import make_handler
from shared.errors import StoreUnavailableError
from shared.job_telemetry import JobTelemetry
from shared.jobs.sharing import RESENT_FROM, Sharing
from shared.jobs.submission import Submission
from shared.limiting.shares import Entry
from shared.queues.memory import MemoryQueue
from shared.results.memory import MemoryJobStore
from tests.fixtures.job_desk import VISIBILITY_S, Desk, tensor_body
from tests.fixtures.virtual_time import VirtualTime

WORKERS = 10
BATCH = 10
SHARE = 80
CALL_S = 0.01
"""A call of AWS, or ten at once."""
RUN_S = 0.05
"""A job's part of a run; a delivery of ten runs for half a second."""
FLOOD = 10_000
"""Queued; it takes half a minute to get there, since some end meanwhile."""
FLOOD_PER_S = 500
"""As many calls a second as the stage `prod` takes from all its callers."""
QUIET = 90
QUIET_EVERY_S = 0.5
BODY = tensor_body([[1.0, 2.0]])


class Store(MemoryJobStore):
    """Its calls take time; so does the run, of which the end is a call."""

    def __init__(self, *, clock):
        super().__init__(clock=clock)
        self.in_hand = Counter()
        self.most_in_hand = 0

    def claim(self, key, **named):
        self._clock.sleep(CALL_S / BATCH)
        self.in_hand[key.tenant] += 1
        self.most_in_hand = max(self.most_in_hand, self.in_hand["noisy"])
        return super().claim(key, **named)

    def succeed(self, key, **named):
        self._clock.sleep(CALL_S / BATCH + RUN_S)
        self.in_hand[key.tenant] -= 1
        return super().succeed(key, **named)


class Broker(MemoryQueue):
    """Its calls take time."""

    def hand_back(self, delivery, *, delay_s=0):
        self._clock.sleep(CALL_S / BATCH)
        super().hand_back(delivery, delay_s=delay_s)


class Stage:
    """Workers of one pool in virtual time."""

    def __init__(self, models, *, sharing):
        self.time = VirtualTime()
        self.dead = MemoryQueue(clock=self.time)
        self.queue = Broker(clock=self.time, visibility_s=VISIBILITY_S, dead_letters=self.dead)
        self.desk = Desk(
            models,
            clock=self.time,
            store=Store(clock=self.time),
            queues={("shared", "async"): self.queue},
        )
        object.__setattr__(self.desk.worker, "sharing", sharing)
        self.quiet = []
        self.beside_all = 0
        """Of the quiet tenant's jobs, those that came while all of the flood was queued."""
        self.over = False

    def submit(self, tenant):
        submission = Submission(model="scale", body=BODY)
        return self.desk.accept.submit(submission, tenant=tenant).row.key

    def flood(self):
        """As fast as the stage takes jobs, until so many are queued; then as many as end."""
        while not self.over:
            for _ in range(min(50, FLOOD + WORKERS * BATCH - self.queue.depth())):
                self.submit("noisy")
            self.time.sleep(50 / FLOOD_PER_S)

    def be_quiet(self, begin_s=0.0, jobs=QUIET):
        self.time.sleep(begin_s)
        for _ in range(jobs):
            self.beside_all += self.queue.depth() >= FLOOD
            self.quiet.append(self.submit("quiet"))
            self.time.sleep(QUIET_EVERY_S)
        self.time.sleep(2)
        self.over = True

    def work(self):
        handler = self.handler(f"worker-{threading.get_ident()}")
        while not self.over:
            deliveries = self.queue.receive(limit=BATCH, wait_s=0)
            self.time.sleep(CALL_S if deliveries else 0.05)
            if deliveries:
                self.deliver(handler, deliveries)

    def handler(self, name):
        """An environment of the worker's function."""
        handle = make_handler(
            self.desk.worker,
            consumed={"q-async": "async"},
            telemetry=JobTelemetry(service="laneway-queue-worker", stage="dev", pool="shared"),
            margin_s=1.0,
        )
        context = SimpleNamespace(
            get_remaining_time_in_millis=lambda: 60_000,
            aws_request_id=name,
            function_name="f",
            memory_limit_in_mb=1769,
            invoked_function_arn="arn",
        )
        return lambda event: handle(event, context)

    def deliver(self, handler, deliveries):
        """As an event source does: what is not told to have failed is removed."""
        answer = handler({"Records": [record(delivery) for delivery in deliveries]})
        failed = {item["itemIdentifier"] for item in answer["batchItemFailures"]}
        for delivery in deliveries:
            if delivery.message_id not in failed:
                self.queue.acknowledge(delivery)
        return failed

    def waits_s(self, last=QUIET):
        """Of the quiet tenant's last so many jobs, sorted; one that nobody began waits until now."""
        rows = [self.desk.row(key) for key in self.quiet[-last:]]
        return sorted((row.started_at or self.time.now) - row.created_at for row in rows)

    def ended(self, tenant):
        rows = self.desk.store._rows.values()
        return sum(row.key.tenant == tenant and row.status == "succeeded" for row in rows)


def record(delivery):
    return {
        "messageId": delivery.message_id,
        "receiptHandle": delivery.receipt,
        "body": delivery.body,
        "eventSourceARN": "arn:aws:sqs:us-east-1:1:q-async",
        "attributes": {
            "ApproximateReceiveCount": str(delivery.receive_count),
            "MessageGroupId": delivery.tenant,
        },
        "messageAttributes": {},
    }


def p95(waits_s):
    return waits_s[int(len(waits_s) * 0.95)]


@pytest.fixture
def stage(small_models):
    def make(jobs_max=SHARE, sharing=None):
        named = {} if jobs_max is None else {"async": jobs_max}
        return Stage(small_models, sharing=sharing or Sharing(jobs_max=named))

    return make


def test_a_quiet_tenant_s_jobs_hardly_wait_for_a_flood(stage):
    alone = stage()
    alone.time.run(alone.be_quiet, *[alone.work] * WORKERS)

    flooded = stage()
    flooded.time.run(flooded.flood, flooded.be_quiet, *[flooded.work] * WORKERS)

    assert flooded.beside_all > QUIET / 4, "10,000 are queued for a quarter of the time"
    for last in (QUIET, flooded.beside_all):
        assert p95(flooded.waits_s(last)) <= 2 * p95(alone.waits_s()) + 1
    assert flooded.desk.store.most_in_hand <= SHARE
    assert flooded.dead.depth() == 0
    seconds = flooded.time.now - flooded.time.began
    best = SHARE * seconds / (BATCH * RUN_S)
    assert flooded.ended("noisy") > 0.8 * best, "the share is used"


def test_without_a_share_the_same_flood_keeps_the_quiet_tenant_waiting(stage):
    flooded = stage(jobs_max=None)
    flooded.time.run(
        flooded.flood, lambda: flooded.be_quiet(begin_s=8, jobs=4), *[flooded.work] * WORKERS
    )

    assert {flooded.desk.row(key).started_at for key in flooded.quiet} == {None}


def test_a_job_that_was_turned_away_was_neither_claimed_nor_charged(stage):
    some = stage(jobs_max=1)
    keys = [some.submit("noisy") for _ in range(3)]
    before = [some.desk.row(key) for key in keys]
    deliveries = some.queue.receive(limit=10, wait_s=0)
    answered = []

    some.time.run(lambda: answered.append(some.deliver(some.handler("w"), deliveries)))

    first, *others = [some.desk.row(key) for key in keys]
    assert (first.status, first.attempt) == ("succeeded", 1)
    assert others == before[1:]
    assert len(answered[0]) == 2, "handed back, as failed records"


def test_every_job_of_a_flood_ends_and_none_is_buried(stage):
    some = stage(jobs_max=3)
    keys = [some.submit("noisy") for _ in range(150)]

    def end():
        while some.queue.depth():
            some.time.sleep(1)
        some.over = True

    some.time.run(end, *[some.work] * 4)

    assert {some.desk.row(key).status for key in keys} == {"succeeded"}
    assert {some.desk.row(key).attempt for key in keys} == {1}
    assert some.dead.depth() == 0


def test_a_message_that_was_turned_away_often_is_sent_anew_and_stays_the_same_job(stage):
    some = stage(jobs_max=1)
    message = {"schema_version": 1, "model": "scale", "input": json.loads(BODY)}
    some.queue.send(json.dumps(message), tenant="default")
    [delivery] = some.queue.receive(limit=1, wait_s=0)
    often = replace(delivery, receive_count=RESENT_FROM)
    kept = some.desk.worker.sharing.shares.enter(
        Entry("shared/async", "default", "another", 1),
        share=1,
        now=some.time.now,
        until=some.time.now + 60,
    )

    some.time.run(lambda: some.deliver(some.handler("w"), [often]))

    assert some.queue.depth() == 1
    some.desk.worker.sharing.shares.leave(kept, now=some.time.now)
    some.time.now += 60
    [anew] = some.queue.receive(limit=1, wait_s=0)
    assert (anew.receive_count, anew.message_id == delivery.message_id) == (1, False)
    some.time.run(lambda: some.deliver(some.handler("w"), [anew]))
    assert some.desk.row(f"m-{delivery.message_id}").status == "succeeded"


class Unknown:
    """Shares that cannot be asked."""

    def enter(self, *_, **__):
        raise StoreUnavailableError("no shares")


def test_where_shares_cannot_be_known_jobs_run_all_the_same(stage):
    some = stage(sharing=Sharing(shares=Unknown(), jobs_max={"async": 1}))
    keys = [some.submit("noisy") for _ in range(5)]
    deliveries = some.queue.receive(limit=10, wait_s=0)

    some.time.run(lambda: some.deliver(some.handler("w"), deliveries))

    assert {some.desk.row(key).status for key in keys} == {"succeeded"}
