"""The worker of `python -m gpu_workers` with its table and its payloads in memory: what children that run it share.

All is as the worker's own assembly makes it, but for what would be on AWS; a child may bring a table of its own.
"""

from __future__ import annotations

import dataclasses
import json
from contextlib import contextmanager
from pathlib import Path

from gpu_workers.assembly import prefetch as default_prefetch
from gpu_workers.core import Core
from shared.catalog import parse_catalog
from shared.inference.loading import open_sessions
from shared.inference.warming import warm_up
from shared.jobs.clock import system_clock
from shared.jobs.parallel import Parallel
from shared.jobs.rules import JobRules
from shared.jobs.submit import Jobs
from shared.jobs.work import Worker
from shared.queues.rabbitmq import AmqpSettings, RabbitBroker
from shared.repository import compile_catalog, read_repository
from shared.results.memory import MemoryJobStore
from shared.results.payloads import MemoryPayloadStore
from shared.schema.compile import export_validators
from shared.schema.compiled import load_validators
from shared.settings.jobs import JobSettings
from stacks.queue_lane import QueueLane

ROOT = Path(__file__).parents[2]
QUEUE = "async"
LEASE_S = 60.0
SESSIONS_BYTES = 1 << 31


@contextmanager
def opened_core(
    url, queue_name, *, model, threads, reporter, prefetch=0, store=None, parallel=None
):
    """The worker's core over a queue; `prefetch` 0: as the worker sets it. `reporter`: makes one for a pool."""
    catalog = catalog_of(model)
    pool = catalog.model(model).pool
    with RabbitBroker(AmqpSettings(url=url)) as broker:
        broker.declare([queue_name])
        held = prefetch or default_prefetch(catalog)
        queue = broker.queue(queue_name, prefetch=held, visibility_s=2 * LEASE_S)
        queues = {(pool, QUEUE): queue}
        sessions = open_sessions(
            ROOT,
            catalog,
            budget_bytes=SESSIONS_BYTES,
            threads=threads,
            then=lambda served: warm_up(
                served.session, (1, catalog.model(served.name).max_batch_size)
            ),
            settle=True,
        )
        worker = assemble(
            catalog,
            pool=pool,
            sessions=sessions,
            queues=queues,
            reporter=reporter(pool),
            store=store,
            parallel=parallel,
        )
        yield Core(
            worker=worker,
            queues={QUEUE: queue},
            owner="bench",
            lease_s=LEASE_S,
            tenant_share=QueueLane().tenant_share,
        )


def catalog_of(*models, folder=ROOT / "models"):
    """The catalog of a repository of just these models; of none: of all."""
    repository = read_repository(folder)
    if models:
        chosen = {name: repository.models[name] for name in models}
        repository = dataclasses.replace(repository, models=chosen)
    content = {**compile_catalog(repository), "validators": export_validators()}
    return parse_catalog(json.loads(json.dumps(content)))


def assemble(catalog, *, pool, sessions, queues, reporter, store=None, parallel=None):
    """A pool's worker; `queues` by pool and name. `parallel`: where the store waits; one in memory never does."""
    common = {
        "catalog": catalog,
        "store": store or MemoryJobStore(clock=system_clock),
        "payloads": MemoryPayloadStore(),
        "queues": queues,
        "rules": JobRules.of(JobSettings(stage="bench", bucket="memory")),
        "clock": system_clock,
    }
    return Worker(
        pool=pool,
        sessions=sessions,
        jobs=Jobs(**common),
        validate=load_validators(catalog.validators).inference_request,
        parallel=parallel or Parallel(threads=1),
        reporter=reporter,
        **common,
    )
