"""The jobs of the storm: what each is, from the seed and its number alone, and how all are accepted.

Most are submitted; some are dropped on the queue by their user; of some the message was never sent, as
by a process that ended between row and message. Some messages come twice or more, some jobs are
canceled about when they run, a part has a webhook.
"""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import shared.settings.jobs
from shared.aws import make_client
from shared.catalog import load_catalog
from shared.errors import UnavailableError
from shared.jobs.messages import reference
from shared.jobs.parallel import Parallel
from shared.jobs.rules import JobRules
from shared.jobs.submission import Submission
from shared.jobs.submit import Jobs
from shared.queues.rabbitmq import AmqpSettings, RabbitBroker
from shared.queues.sqs import SqsQueue
from shared.results.dynamodb import DynamoJobStore
from shared.results.s3 import S3PayloadStore
from shared.results.store import JobKey
from tests.faults.models import FEATURES
from tests.faults.process import say

TENANT = "default"
MODEL = "mlp"
CANARY = "canary-of-the-storm"
WEBHOOK_EVERY = 4
LARGE_EVERY = 97
LARGE_ROWS = 400
CANCELED_LATER = 40
"""A job is canceled when so many more were accepted: about when it runs."""
BACKLOG_MAX = 150
AT_ONCE = 8
CONFIRM_S = 2.0
"""How long a message waits for a broker that may be dead."""
ALL_ACCEPTED = "· all accepted"
ACCEPTED = "· accepted"


@dataclass(frozen=True)
class Plan:
    """Job number `number` of a storm; `copies`: delays in seconds of further messages."""

    number: int
    how: str
    body: bytes
    webhook: str | None
    copies: tuple[int, ...]
    canceled: bool

    @property
    def key(self):
        return JobKey(TENANT, f"n{self.number}")

    @property
    def submission(self):
        return Submission(
            model=MODEL, body=self.body, webhook=self.webhook, metadata={"note": CANARY}
        )

    @property
    def message(self):
        """The job as its user would drop it on the queue."""
        said = {
            "schema_version": 1,
            "id": self.key.id,
            "model": MODEL,
            "input": json.loads(self.body),
            "metadata": {"note": CANARY},
        }
        return json.dumps(said | ({"webhook": self.webhook} if self.webhook else {}))


@dataclass(frozen=True)
class Storm:
    """`count` jobs, of which a submitter accepts those from `first` on."""

    seed: str
    count: int
    webhook: str
    first: int = 0

    @classmethod
    def from_env(cls, env):
        return cls(
            seed=env["STORM_SEED"],
            count=int(env["STORM_COUNT"]),
            webhook=env["STORM_WEBHOOK"],
            first=int(env["STORM_FIRST"]),
        )

    def to_env(self, first):
        return {
            "STORM_SEED": self.seed,
            "STORM_COUNT": self.count,
            "STORM_WEBHOOK": self.webhook,
            "STORM_FIRST": first,
        }

    @cached_property
    def plans(self):
        """Every job; the same in every process."""
        return [self.plan(number) for number in range(self.count)]

    def plan(self, number):
        chance = random.Random(f"{self.seed}:{number}")  # noqa: S311  to be had again
        rows = LARGE_ROWS if number % LARGE_EVERY == LARGE_EVERY // 2 else chance.randint(1, 4)
        values = [[round(chance.uniform(-2, 2), 3) for _ in range(FEATURES)] for _ in range(rows)]
        tensor = {"name": "x", "shape": [rows, FEATURES], "datatype": "FP32", "data": values}
        return Plan(
            number=number,
            how=chance.choices(["submitted", "dropped", "unsent"], [91, 6, 3])[0],
            body=json.dumps({"inputs": [tensor]}).encode(),
            webhook=(self.webhook or None) if number % WEBHOOK_EVERY == 0 else None,
            copies=tuple(chance.choices(range(7), k=chance.choices([0, 1, 2], [80, 15, 5])[0])),
            canceled=chance.random() < 0.03,
        )


def submit_all(storm):
    """Accept the jobs from `storm.first` on; what was accepted before is met again without harm."""
    desk = _Desk()
    parallel = Parallel(threads=AT_ONCE)
    for first in range(storm.first, storm.count, AT_ONCE):
        plans = storm.plans[first : first + AT_ONCE]
        parallel.map(lambda plan: _insist(lambda: desk.accept(plan)), plans)
        for earlier in storm.plans[max(0, first - CANCELED_LATER) :][:AT_ONCE]:
            if earlier.canceled:
                _insist(lambda key=earlier.key: desk.store.cancel(key, now=time.time()))
        say(ACCEPTED, plans[-1].number)
        while _insist(desk.queue.depth) > BACKLOG_MAX:
            time.sleep(0.3)
    say(ALL_ACCEPTED)
    while True:
        time.sleep(60)


def _insist(call):
    """Call again while what is below does not answer, as a caller who was told 503 does."""
    while True:
        try:
            return call()
        except UnavailableError as error:
            say("·", type(error).__name__)
            time.sleep(0.5)


def _queue(env):
    """Where jobs are dropped."""
    if "AMQP_URL" in env:
        settings = AmqpSettings(url=env["AMQP_URL"], confirm_timeout_s=CONFIRM_S)
        return RabbitBroker(settings).queue(env["CONSUMED"])
    return SqsQueue(make_client("sqs"), url=env["CONSUMED"])


class _Desk:
    """What accepts jobs."""

    def __init__(self):
        import os  # noqa: PLC0415  the storm itself is read without an environment

        settings = shared.settings.jobs.QueueWorkerSettings.from_env(os.environ)
        package = Path(os.environ["PYTHONPATH"].split(os.pathsep)[0])
        self.queue = _queue(os.environ)
        self.store = DynamoJobStore(
            make_client("dynamodb"), table=settings.jobs_table, clock=time.time
        )
        self.jobs = Jobs(
            catalog=load_catalog(package / "catalog.json"),
            store=self.store,
            payloads=S3PayloadStore(make_client("s3"), bucket=settings.bucket),
            queues={("shared", "async"): self.queue},
            rules=JobRules.of(settings),
            clock=time.time,
        )

    def accept(self, plan):
        if plan.how == "dropped":
            body = plan.message
            self.queue.send(body, tenant=TENANT)
        else:
            body = reference(plan.key)
            self._submit(plan)
        for delay_s in plan.copies:
            self.queue.send(body, tenant=TENANT, delay_s=delay_s)

    def _submit(self, plan):
        if plan.how == "submitted":
            self.jobs.submit(plan.submission, tenant=TENANT, job_id=plan.key.id)
        else:
            self.store.create(self.jobs.new_row(plan.submission, key=plan.key, now=time.time()))
