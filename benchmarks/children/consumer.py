"""The worker `python -m gpu_workers` over RabbitMQ, with its rows in memory: what the peers of a broker do.

Arguments: the model, its version, intra-op threads, the broker's URL, a queue, its prefetch (0: as the
worker sets it) and how many jobs were submitted: `j0`, `j1`, ... whose rows are made here, since the table is
in this process's memory, or is the one in DynamoDB that `BENCH_TABLE` names.
All else is the worker's own, but for the count of its jobs.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import sys
import threading
from pathlib import Path

from tally import count, count_call

from gpu_workers.assembly import prefetch as default_prefetch
from gpu_workers.core import Core
from gpu_workers.telemetry import WorkerTelemetry
from gpu_workers.worker import GpuWorker
from shared.aws import make_client
from shared.catalog import parse_catalog
from shared.inference.loading import open_sessions
from shared.inference.warming import warm_up
from shared.jobs.clock import system_clock
from shared.jobs.parallel import Parallel
from shared.jobs.rules import JobRules
from shared.jobs.submission import Submission
from shared.jobs.submit import Jobs
from shared.jobs.work import Worker
from shared.queues.rabbitmq import AmqpSettings, RabbitBroker
from shared.repository import compile_catalog, read_repository
from shared.results.dynamodb import DynamoJobStore
from shared.results.memory import MemoryJobStore
from shared.results.payloads import MemoryPayloadStore
from shared.results.store import JobKey
from shared.schema.compile import export_validators
from shared.schema.compiled import load_validators
from shared.settings.jobs import JobSettings
from stacks.queue_lane import QueueLane

name, version, threads, url, queue_name, prefetch, submitted = sys.argv[1:]
ROOT = Path(__file__).parents[2]
QUEUE = "async"
LEASE_S = 60.0
STORE_THREADS = 24
"""Calls of the table at the same time, as the worker's own setting has it."""


class Telemetry(WorkerTelemetry):
    """Writes each job's line as ever, and counts it."""

    def __init__(self, pool):
        super().__init__(stage="bench", pool=pool, worker="bench")
        self._counting = threading.Lock()

    def job(self, facts):
        """None of them is handed back, comes twice or is lost."""
        raise AssertionError(facts.outcome)

    def ended(self, facts):
        """A line for each, and as many more."""
        super().ended(facts)
        assert all(one.outcome == "succeeded" for one in facts)
        with self._counting:
            count(len(facts))


def main():
    whole = read_repository(ROOT / "models")
    repository = dataclasses.replace(whole, models={name: whole.models[name]})
    content = {**compile_catalog(repository), "validators": export_validators()}
    catalog = parse_catalog(json.loads(json.dumps(content)))
    model, _ = catalog.find(name, version)
    with RabbitBroker(AmqpSettings(url=url)) as broker:
        broker.declare([queue_name])
        held = int(prefetch) or default_prefetch(catalog)
        queue = broker.queue(queue_name, prefetch=held, visibility_s=2 * LEASE_S)
        worker = assemble(catalog, model, queue)
        submit(worker)
        core = Core(
            worker=worker,
            queues={QUEUE: queue},
            owner="bench",
            lease_s=LEASE_S,
            tenant_share=QueueLane().tenant_share,
        )
        gc.freeze()  # as the worker's entry point does; it also spares the table, which is elsewhere else
        GpuWorker(core).run()


def submit(worker):
    """Commit the rows of jobs whose messages are in the broker."""
    body = Path(os.environ["BENCH_REQUEST"]).read_bytes()
    for number in range(int(submitted)):
        key = JobKey(worker.tenant, f"j{number}")
        row = worker.jobs.new_row(Submission(model=name, body=body), key=key, now=system_clock())
        worker.store.create(row)


def open_store():
    """The store of jobs, and threads for calls at the same time: in memory nothing waits."""
    table = os.environ.get("BENCH_TABLE")
    if table is None:
        return MemoryJobStore(clock=system_clock), Parallel(threads=1)
    client = make_client("dynamodb")
    client.meta.events.register("before-call", count_call)
    store = DynamoJobStore(client, table=table, clock=system_clock)
    return store, Parallel(threads=STORE_THREADS)


def assemble(catalog, model, queue):
    store, parallel = open_store()
    common = {
        "catalog": catalog,
        "store": store,
        "payloads": MemoryPayloadStore(),
        "queues": {(model.pool, QUEUE): queue},
        "rules": JobRules.of(JobSettings(stage="bench", bucket="memory")),
        "clock": system_clock,
    }
    return Worker(
        pool=model.pool,
        sessions=open_sessions(
            ROOT,
            catalog,
            budget_bytes=1 << 31,
            threads=int(threads),
            then=lambda served: warm_up(served.session, (1, model.max_batch_size)),
        ),
        jobs=Jobs(**common),
        validate=load_validators(catalog.validators).inference_request,
        parallel=parallel,
        reporter=Telemetry(model.pool),
        **common,
    )


main()
