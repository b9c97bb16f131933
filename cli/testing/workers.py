"""The workers of a service in this process: each pool's function, fed from its queues.

A pool of gpu models has no function elsewhere; here one stands in for its worker, on the CPU: what a job
answers is the same, and only how many run together may differ.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Final

from cli.testing.batches import CHUNKS, make_chunk_runner
from cli.testing.event_source import EventSource
from cli.testing.lambdas import LocalFunction
from shared.inference.loading import open_sessions
from shared.job_telemetry import JobTelemetry
from shared.jobs.clock import system_clock
from shared.jobs.parallel import Parallel
from shared.jobs.rules import JobRules
from shared.jobs.submit import Jobs
from shared.jobs.work import Worker
from shared.limits import MIB
from shared.queues.sqs import SqsQueue
from shared.results.dynamodb import DynamoJobStore
from shared.results.s3 import S3PayloadStore
from shared.routing.lane import GPU
from shared.schema.compiled import load_validators
from shared.settings.jobs import QueueWorkerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cli.testing.resources import Resources
    from shared.catalog import Catalog
    from shared.settings.jobs import JobSettings

TIMEOUT_S: Final = 60
_PAUSE_S: Final = 0.02


def make_sources(
    catalog: Catalog, *, pool: str, package: Path, settings: JobSettings, resources: Resources
) -> list[EventSource]:
    """The pool's worker behind each of its queues."""
    told = QueueWorkerSettings(
        stage=settings.stage, pool=pool, dead_letters=resources.dead_letters[pool]
    )
    telemetry = JobTelemetry(
        service="laneway-queue-worker", stage=told.stage, pool=pool, digests=catalog.digests()
    )
    worker = _make_worker(
        catalog,
        settings=settings,
        told=told,
        package=package,
        resources=resources,
        reporter=telemetry,
    )
    names = {url.rpartition("/")[2]: kind for kind, url in resources.queues[pool].items()}
    make_handler = import_module("functions.queue_worker.service").make_handler
    handler = make_handler(
        worker,
        consumed=names,
        telemetry=telemetry,
        margin_s=1.0,
        chunks=make_chunk_runner(
            worker, settings=settings, resources=resources, told=telemetry.chunk
        ),
    )
    name = f"laneway-{told.stage}-{pool}-queue-worker"
    function = LocalFunction(name, handler, timeout_s=TIMEOUT_S)
    return [
        EventSource(
            queue=worker.queues[pool, kind],
            function=function,
            name=queue_name,
            batch_size=1 if kind == CHUNKS else 10,
        )
        for queue_name, kind in names.items()
    ]


def _make_worker(
    catalog: Catalog,
    *,
    settings: JobSettings,
    told: QueueWorkerSettings,
    package: Path,
    resources: Resources,
    reporter: JobTelemetry,
) -> Worker:
    rules = JobRules.of(settings)
    store = DynamoJobStore(resources.dynamodb, table=resources.jobs_table, clock=system_clock)
    payloads = S3PayloadStore(resources.s3, bucket=resources.bucket)
    queues = {
        (pool, kind): SqsQueue(
            resources.sqs, url=url, dead_letter_url=resources.dead_letters[pool][kind]
        )
        for pool, urls in resources.queues.items()
        for kind, url in urls.items()
    }
    return Worker(
        pool=told.pool,
        catalog=catalog,
        sessions=open_sessions(
            package, catalog, budget_bytes=told.session_budget_mib * MIB, threads=1
        ),
        store=store,
        payloads=payloads,
        jobs=Jobs(
            catalog=catalog,
            store=store,
            payloads=payloads,
            queues=queues,
            rules=rules,
            clock=system_clock,
        ),
        rules=rules,
        queues=queues,
        validate=load_validators(catalog.validators).inference_request,
        clock=system_clock,
        parallel=Parallel(threads=1),
        reporter=reporter,
        lane="gpu" if any(model.compute == GPU for model in catalog.models.values()) else "queue",
    )


def drain(sources: Sequence[EventSource]) -> int:
    """Run what is on the queues until no message is visible; gives how many were delivered."""
    delivered = 0
    while found := sum(len(poll.delivered) for source in sources for poll in source.drain()):
        delivered += found
    return delivered


@contextmanager
def working(sources: Sequence[EventSource]) -> Iterator[None]:
    """Run what comes to the queues, on a thread, until the block ends."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(_PAUSE_S):
            drain(sources)

    thread = threading.Thread(target=work, name="laneway-workers", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
