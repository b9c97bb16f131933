"""Puts the worker together from its settings and its pool's package."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from gpu_workers.core import CHUNKS, ORDER, Core
from shared.aws import make_client
from shared.inference.loading import open_sessions
from shared.inference.providers import open_device
from shared.inference.warming import warm_up
from shared.jobs.pool_worker import make_pool_chunk_runner, make_pool_worker
from shared.limits import MIB
from shared.queues.sqs import SqsQueue

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shared.catalog import Catalog
    from shared.inference.pipeline import ServedModel
    from shared.inference.sessions import Sessions
    from shared.job_telemetry import JobTelemetry
    from shared.queues.protocol import Queue
    from shared.queues.rabbitmq import RabbitBroker
    from shared.settings.jobs import WorkerSettings

LONG_POLL_READ_TIMEOUT_S: Final = 15.0
"""Of the client that receives: longer than its calls wait, and than a slow answer after that."""
BROKER_AWAY_S: Final = 300.0
"""How long a broker may be away when a worker starts; one that restarts must not end the fleet with it."""
STACKS_HELD: Final = 8
"""Full stacks of messages that RabbitMQ may have given: waiting, running, and being published."""
PREFETCH_MAX: Final = 512
"""No more for a further stack of each model, of those that may wait as well (`ahead.py`)."""
CHUNK_LINES: Final = 64
"""Lines of a chunk between two looks at who waits: heavy models take long for each."""


class AssemblyError(ValueError):
    """The settings name something that does not fit the package or the stage."""


@contextmanager
def open_core(
    settings: WorkerSettings, *, catalog: Catalog, owner: str, telemetry: JobTelemetry
) -> Iterator[Core]:
    """The worker's parts over its stage's services; nothing is loaded or received yet."""
    sessions = _sessions(settings, catalog)
    sqs = make_client("sqs", read_timeout_s=LONG_POLL_READ_TIMEOUT_S)
    with _opened_queues(settings, sqs, catalog) as queues:
        worker = make_pool_worker(
            settings,
            catalog=catalog,
            sessions=sessions,
            queues=queues,
            sqs=sqs,
            reporter=telemetry,
        )
        consumed = {
            name: queues[settings.pool, name]
            for name in ORDER
            if (settings.pool, name) in queues and (name != CHUNKS or settings.batches_table)
        }
        if not consumed:
            raise AssemblyError(f"QUEUES has no queue of pool {settings.pool!r}")
        core = Core(
            worker=worker,
            queues=consumed,
            owner=owner,
            lease_s=settings.lease_s,
            chunk_s=settings.chunk_s,
            tenant_share=settings.tenant_share,
        )
        if CHUNKS in consumed:
            core.chunks = make_pool_chunk_runner(
                settings,
                worker,
                chunks=consumed[CHUNKS],
                told=telemetry.chunk,
                monotonic=core.chunk_clock,
                stopped=core.stopped.is_set,
                block_lines=CHUNK_LINES,
            )
        try:
            yield core
        finally:
            worker.parallel.close()


def _sessions(settings: WorkerSettings, catalog: Catalog) -> Sessions[ServedModel]:
    def warm(served: ServedModel) -> None:
        warm_up(served.session, (1, catalog.model(served.name).max_batch_size))

    return open_sessions(
        Path(settings.models),
        catalog,
        budget_bytes=settings.device_memory_mib * MIB,
        threads=settings.run_threads or len(os.sched_getaffinity(0)),
        device=open_device(
            settings.device,
            engine_cache=settings.engine_cache,
            memory_bytes=settings.device_memory_mib * MIB,
        ),
        then=warm,
        settle=True,
    )


def prefetch(catalog: Catalog) -> int:
    """Messages that a broker which pushes may have given at once, of each queue."""
    sizes = [model.max_batch_size for model in catalog.models.values()] or [1]
    least = STACKS_HELD * max(sizes)
    return max(least, min(PREFETCH_MAX, least + sum(sizes) - max(sizes)))


@contextmanager
def _opened_queues(
    settings: WorkerSettings, sqs: Any, catalog: Catalog
) -> Iterator[Mapping[tuple[str, str], Queue]]:
    """Every pool's queues, by pool and name: URLs are on SQS, other names in RabbitMQ."""
    named = {
        (pool, name): place
        for pool, places in settings.queues.items()
        for name, place in places.items()
    }
    dead = {(settings.pool, name): place for name, place in settings.dead_letters.items()}
    queues: dict[tuple[str, str], Queue] = {
        key: SqsQueue(sqs, url=place, dead_letter_url=dead.get(key))
        for key, place in named.items()
        if _is_url(place)
    }
    rabbit = {key: place for key, place in named.items() if not _is_url(place)}
    if not rabbit:
        yield queues
        return
    with _broker(settings) as broker:
        broker.declare(sorted(rabbit.values()), timeout_s=BROKER_AWAY_S)
        for key, place in rabbit.items():
            queues[key] = broker.queue(
                place, prefetch=prefetch(catalog), visibility_s=2 * settings.lease_s
            )
        yield queues


def _broker(settings: WorkerSettings) -> RabbitBroker:
    from shared.queues.rabbitmq import (  # noqa: PLC0415  most stages have no broker
        AmqpSettings,
        RabbitBroker,
    )
    from shared.queues.rabbitmq.settings import read_settings  # noqa: PLC0415  as above

    name = f"laneway-{settings.stage}-{settings.pool}-worker"
    try:
        if settings.amqp_secret:
            client = make_client("secretsmanager")

            def read() -> AmqpSettings:
                return read_settings(client, settings.amqp_secret, url=settings.amqp_url, name=name)

            return RabbitBroker(read(), renew=read)
        ca_file = settings.amqp_ca_file or None
        return RabbitBroker(AmqpSettings(url=settings.amqp_url, ca_file=ca_file, name=name))
    except ValueError as error:
        raise AssemblyError(
            f"a queue is in RabbitMQ, and AMQP_SECRET or AMQP_URL does not say where: {error}"
        ) from error


def _is_url(place: str) -> bool:
    return urlsplit(place).scheme in ("http", "https")
