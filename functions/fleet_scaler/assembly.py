"""Puts the scaler together from its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from functions.fleet_scaler.aws import DynamoMemory, EcsFleet, QueueDepths, SentDepths
from functions.fleet_scaler.desired import Rules
from functions.fleet_scaler.service import FleetScaler
from shared.aws import make_client
from shared.jobs.clock import system_clock
from shared.queues.invoked import SendFunction
from shared.queues.opened import is_url
from shared.queues.sqs import SqsQueue
from shared.results.leases import DynamoLeases

if TYPE_CHECKING:
    from functions.fleet_scaler.service import Depths
    from shared.jobs.clock import Clock
    from shared.settings.jobs import FleetScalerSettings

SEND_PATIENCE_S = 20.0
"""`send` may start cold and has to connect to the broker first."""


def make_scaler(settings: FleetScalerSettings, *, clock: Clock = system_clock) -> FleetScaler:
    """The scaler over ECS, DynamoDB and the stage's broker."""
    dynamodb = make_client("dynamodb")
    return FleetScaler(
        rules={pool: rules_of(settings, pool) for pool in settings.services},
        fleet=EcsFleet(make_client("ecs"), cluster=settings.cluster, services=settings.services),
        depths=_depths(settings),
        leases=DynamoLeases(dynamodb, table=settings.jobs_table, clock=clock),
        memory=DynamoMemory(dynamodb, table=settings.fleet_table),
        clock=clock,
    )


def rules_of(settings: FleetScalerSettings, pool: str) -> Rules:
    """How a pool's fleet is sized."""
    return Rules(
        max_workers=settings.max_workers,
        min_workers=settings.min_workers,
        job_s=settings.job_s[pool],
        chunk_s=settings.chunk_s,
        wait_s={"async": settings.async_wait_s, "batch": settings.batch_wait_s},
        idle_s=settings.idle_s,
    )


def _depths(settings: FleetScalerSettings) -> Depths:
    sqs = make_client("sqs")
    queues = {pool: settings.queues[pool] for pool in settings.services}
    on_sqs = QueueDepths(
        {
            pool: {
                kind: SqsQueue(sqs, url=place) for kind, place in places.items() if is_url(place)
            }
            for pool, places in queues.items()
        }
    )
    elsewhere = {
        pool: tuple(kind for kind, place in places.items() if not is_url(place))
        for pool, places in queues.items()
    }
    if not any(elsewhere.values()):
        return on_sqs
    send = SendFunction(
        make_client("lambda", read_timeout_s=SEND_PATIENCE_S), function=settings.send_function
    )
    return SentDepths(send, queues=elsewhere, chunks=on_sqs)
