"""What a deployed local stage has beside its functions, as it was told itself: queues, bucket, tables.

Nothing is guessed from names: the stage's ingress function knows them all.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final, TypedDict

from cli.dev.deploy import STAGE
from shared.repository import DEFAULT_POOL
from shared.settings.jobs import JobSettings, SweeperSettings, WorkerSettings

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

    from shared.repository import Repository

PREFIX: Final = f"laneway-{STAGE}-"
KEYS_TABLE: Final = f"{PREFIX}keys"
TENANTS_TABLE: Final = f"{PREFIX}tenants"
CHUNKS: Final = "chunks"
"""The queue of a pool that carries parts of batches; users drop nothing there."""
LEASE_S: Final = 10.0
"""What a killed worker held is run again in seconds; in the cloud a longer lease saves calls."""
DRAIN_S: Final = 1.0
"""A worker that is stopped here hands its jobs back and does not finish them."""


class Resources(TypedDict):
    """Members of `Running`."""

    queues: dict[str, str]
    buckets: dict[str, str]
    tables: dict[str, str]


@dataclass(frozen=True, slots=True)
class Told:
    """What the deployed functions were told."""

    jobs: JobSettings
    webhooks_queue: str


def read_stage(client: LambdaClient) -> Told:
    """What the stage's functions know of its jobs."""
    sweeper = SweeperSettings.from_env(_environment(client, "sweeper"))
    jobs = {item.name: getattr(sweeper, item.name) for item in fields(JobSettings)}
    return Told(JobSettings(**jobs), sweeper.webhooks_queue)


def describe_resources(told: Told) -> Resources:
    """Where jobs are dropped, the bucket and the tables.

    The default pool's queues are named by latency class, those of others `<pool>/<queue>`.
    """
    queues = {
        kind if pool == DEFAULT_POOL else f"{pool}/{kind}": address
        for pool, addresses in told.jobs.queues.items()
        for kind, address in addresses.items()
        if kind != CHUNKS
    }
    tables = {"jobs": told.jobs.jobs_table, "batches": told.jobs.batches_table}
    return {
        "queues": queues,
        "buckets": {"payloads": told.jobs.bucket},
        "tables": {"keys": KEYS_TABLE, "tenants": TENANTS_TABLE, **tables},
    }


def workers_wanted(
    told: Told, repository: Repository, *, amqp_url: str
) -> dict[str, WorkerSettings]:
    """The workers that the stage needs, by pool: what Lambda runs there needs none."""
    return {
        pool: _worker(pool, told, repository, amqp_url=amqp_url)
        for pool in told.jobs.queues
        if told.jobs.broker == "rabbitmq" or _on_gpu(repository, pool)
    }


def _worker(pool: str, told: Told, repository: Repository, *, amqp_url: str) -> WorkerSettings:
    jobs = {item.name: getattr(told.jobs, item.name) for item in fields(JobSettings)}
    own = dict(told.jobs.queues[pool])
    if not _on_gpu(repository, pool):
        own.pop(CHUNKS, None)  # a function runs those
    jobs["queues"] = {**told.jobs.queues, pool: own}
    return WorkerSettings(
        **jobs,
        pool=pool,
        dead_letters={kind: _dead_letters(address) for kind, address in own.items()},
        webhooks_queue=told.webhooks_queue,
        models_elsewhere=_elsewhere(repository, pool),
        amqp_url=amqp_url,
        lease_s=LEASE_S,
        drain_s=DRAIN_S,
    )


def _dead_letters(address: str) -> str:
    """On SQS the URL, in RabbitMQ the name."""
    return f"{address}-dlq" if address.startswith("http") else f"{address}-dead"


def _on_gpu(repository: Repository, pool: str) -> bool:
    return any(entry.spec.compute == "gpu" for entry in repository.models_of(pool))


def _elsewhere(repository: Repository, pool: str) -> dict[str, list[str]]:
    """Models of other pools that take jobs, by pool."""
    found: dict[str, list[str]] = {}
    for entry in repository.models.values():
        if entry.spec.pool != pool and set(entry.spec.latency_classes) - {"realtime"}:
            found.setdefault(entry.spec.pool, []).append(entry.name)
    return found


def _environment(client: LambdaClient, function: str) -> dict[str, str]:
    told = client.get_function_configuration(FunctionName=f"{PREFIX}{function}")
    return told.get("Environment", {}).get("Variables", {})
