"""What jobs are kept and carried by: in memory, AWS's services as moto plays them, and RabbitMQ.

On RabbitMQ the rows are in memory: which store goes with which broker is no matter to either.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pytest
from moto import mock_aws

from cli.testing.lambdas import LocalLambda
from cli.testing.resources import make_resources
from shared.catalog import parse_catalog
from shared.jobs.ask import AcceptedJobs
from shared.jobs.rules import JobRules
from shared.jobs.submit import Jobs
from shared.queues.memory import MemoryQueue
from shared.queues.sqs import SqsQueue
from shared.repository import compile_catalog, read_repository
from shared.results.dynamodb import DynamoJobStore
from shared.results.memory import MemoryJobStore
from shared.results.payloads import MemoryPayloadStore
from shared.results.s3 import S3PayloadStore
from tests.fixtures.brokered import Carrier

KINDS = ("async", "batch")
POOLS = ("shared", "other")
BUCKET = "stage-bucket"
START = 1_790_000_000.0


class TestClock:
    __test__ = False

    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now


@dataclass
class House:
    """A stage's jobs with all that they stand on."""

    catalog: Any
    clock: Any
    store: Any
    payloads: Any
    queues: dict
    rules: JobRules
    calls: Counter
    """AWS calls by operation; stays empty in memory."""
    on_aws: bool = False
    carrier: Carrier | None = None
    """Where the queues are only sent to."""

    @cached_property
    def jobs(self):
        return self.with_parts()

    @cached_property
    def accepted(self):
        return AcceptedJobs(store=self.store, payloads=self.payloads, clock=self.clock)

    def with_parts(self, **changed):
        """A submitter over the same parts, some of them changed."""
        parts = {
            "catalog": self.catalog,
            "store": self.store,
            "payloads": self.payloads,
            "queues": self.queues,
            "rules": self.rules,
            "clock": self.clock,
        }
        return Jobs(**parts | changed)

    def messages(self, pool="shared", latency_class="async"):
        """The bodies of all messages that are on a queue, taken off it."""
        if self.carrier is not None:
            return self.carrier.take_all(pool, latency_class)
        queue, found = self.queues[pool, latency_class], []
        while deliveries := queue.receive(limit=10, wait_s=0):
            found += [delivery.body for delivery in deliveries]
            for delivery in deliveries:
                queue.acknowledge(delivery)
        return found

    def rows(self, tenant="acme"):
        return list(self.store.list(tenant, limit=100).rows)


@pytest.fixture(scope="session")
def catalog(small_models):
    return parse_catalog(compile_catalog(read_repository(small_models)))


@pytest.fixture
def rules():
    return JobRules(
        bucket=BUCKET,
        targets_s={"async": 60, "batch": 21_600},
        ttls_s={"async": 21_600, "batch": 86_400},
        timeout_s=300,
        retention_s=604_800,
        result_aliases={"lake": "s3://lake/results/"},
    )


@pytest.fixture(params=["memory", "aws", "rabbitmq"])
def house(request, catalog, rules):
    clock = TestClock()
    if request.param == "memory":
        queues = {(pool, kind): MemoryQueue(clock=clock) for pool in POOLS for kind in KINDS}
        yield _in_memory(catalog, clock, rules, queues)
    elif request.param == "aws":
        with mock_aws():
            yield _on_aws(catalog, clock, rules)
    else:
        carrier = Carrier(request.getfixturevalue("rabbitmq").url, dict.fromkeys(POOLS, KINDS))
        lambdas = LocalLambda()
        lambdas.add(carrier.send_function())
        house = _in_memory(catalog, clock, rules, carrier.sending(lambdas))
        yield replace(house, carrier=carrier)
        carrier.close()


def _in_memory(catalog, clock, rules, queues):
    payloads = MemoryPayloadStore(bucket=BUCKET)
    return House(catalog, clock, MemoryJobStore(clock=clock), payloads, queues, rules, Counter())


def _on_aws(catalog, clock, rules):
    made = make_resources("contract", ["shared", "other"])
    calls = Counter()
    for client in (made.dynamodb, made.s3, made.sqs):
        client.meta.events.register("before-call", lambda model, **_: calls.update([model.name]))
    queues = {
        (pool, kind): SqsQueue(made.sqs, url=url)
        for pool, urls in made.queues.items()
        for kind, url in urls.items()
    }
    store = DynamoJobStore(made.dynamodb, table=made.jobs_table, clock=clock)
    payloads = S3PayloadStore(made.s3, bucket=made.bucket)
    rules = replace(rules, bucket=made.bucket)
    return House(catalog, clock, store, payloads, queues, rules, calls, on_aws=True)
