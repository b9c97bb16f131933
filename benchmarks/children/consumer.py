"""The worker `python -m gpu_workers` over RabbitMQ, with its rows in memory: what the peers of a broker do.

Arguments: the model, intra-op threads, the broker's URL, a queue, its prefetch (0: as the worker sets it) and how
many jobs were submitted: `j0`, `j1`, ... whose rows are made here, since the table is in this process's memory, or
is the one in DynamoDB that `BENCH_TABLE` names.
All else is the worker's own, but for the count of its jobs.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from pathlib import Path

from tally import count, count_call

from benchmarks.children.memory_worker import opened_core
from gpu_workers.telemetry import WorkerTelemetry
from gpu_workers.worker import GpuWorker
from shared.aws import make_client
from shared.jobs.clock import system_clock
from shared.jobs.parallel import Parallel
from shared.jobs.submission import Submission
from shared.results.dynamodb import DynamoJobStore
from shared.results.store import JobKey

name, threads, url, queue_name, prefetch, submitted = sys.argv[1:]
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
    store, parallel = open_store()
    with opened_core(
        url,
        queue_name,
        model=name,
        threads=int(threads),
        reporter=Telemetry,
        prefetch=int(prefetch),
        store=store,
        parallel=parallel,
    ) as core:
        submit(core.worker)
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
    """The store of jobs, and threads for calls at the same time; None twice: in memory, where nothing waits."""
    table = os.environ.get("BENCH_TABLE")
    if table is None:
        return None, None
    client = make_client("dynamodb")
    client.meta.events.register("before-call", count_call)
    store = DynamoJobStore(client, table=table, clock=system_clock)
    return store, Parallel(threads=STORE_THREADS)


main()
