"""What is watched of the fleet: workers that are missing, that crash, that cannot hear of their end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aws_cdk import aws_cloudwatch as cloudwatch

from stacks import names
from stacks.parts.alarms import metric

if TYPE_CHECKING:
    from stacks.deployment import Deployment
    from stacks.parts.alarms import AlarmMaker
    from stacks.stages import Stage

CRASHES_MAX: Final = 3
"""In five minutes. One poisonous job costs three, once."""
_HALF: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetMetrics:
    """What the scaler and the workers write about one pool."""

    stage: Stage
    pool: str

    def of(self, name: str, statistic: str = "Maximum") -> cloudwatch.Metric:
        """One of them."""
        dimensions = {"stage": self.stage.name, "pool": self.pool}
        return metric(
            names.METRICS_NAMESPACE, name, dimensions, statistic=statistic, stage=self.stage
        )


def watch_fleet(alarms: AlarmMaker, deployment: Deployment) -> None:
    """Alarms for each pool of the fleet; those on queues are where queues are watched."""
    for metrics in _pools(deployment):
        _watch(alarms, deployment, metrics)
    if deployment.send_functions:
        stage = deployment.stage
        alarms.above(
            "broker-not-confirmed",
            metric(
                names.METRICS_NAMESPACE,
                "broker_not_confirmed",
                {"stage": stage.name},
                statistic="Sum",
                stage=stage,
            ),
            threshold=0,
            description="RabbitMQ does not confirm messages; the jobs are kept and sent later",
        )


def _watch(alarms: AlarmMaker, deployment: Deployment, metrics: FleetMetrics) -> None:
    pool, stage = metrics.pool, deployment.stage
    minutes = math.ceil(stage.fleet.startup_s / stage.alarms.period_s)
    alarms.above(
        f"{pool}-workers-missing",
        metrics.of("fleet_missing", "Minimum"),
        threshold=0,
        periods=(3 * minutes, 3 * minutes),
        description=f"Pool {pool} has fewer workers than it should have, for three times as long as "
        "one takes to start: no capacity at the price, a quota, or an image that does not start",
    )
    alarms.above(
        f"{pool}-worker-crashes",
        metrics.of("worker_crashes", "Sum"),
        threshold=0,
        periods=(CRASHES_MAX, max(5, CRASHES_MAX)),
        description=f"Workers of pool {pool} end by themselves, again and again",
    )
    if pool in deployment.gpu_pools:
        alarms.above(
            f"{pool}-metadata-unreachable",
            metrics.of("metadata_unreachable", "Sum"),
            threshold=0,
            periods=(1, 5),
            description=f"A worker of pool {pool} cannot ask its instance whether it will be taken "
            "away: an interruption would come without a warning",
        )
    if stage.broker == "rabbitmq":
        wait_s = stage.fleet.wait_s["async"] + stage.fleet.startup_s
        alarms.above(
            f"{pool}-backlog",
            metrics.of("fleet_wait_s"),
            threshold=wait_s,
            description=f"What waits for pool {pool} in RabbitMQ is reckoned to take its workers longer "
            f"than {wait_s} s",
        )
        alarms.above(
            f"{pool}-dead-letters",
            metrics.of("fleet_dead_letters"),
            threshold=0,
            description=f"Messages of pool {pool} in RabbitMQ that nobody will try again",
        )


def fleet_rows(deployment: Deployment) -> list[list[cloudwatch.IWidget]]:
    """The fleet's rows of the dashboard; none without a fleet."""
    pools = _pools(deployment)
    if not pools:
        return []
    wanted = [(metrics, name) for metrics in pools for name in ("fleet_desired", "fleet_running")]
    taken = [(m, name) for m in pools for name in ("interruptions", "worker_crashes")]
    return [
        [
            _graph("Workers wanted and running", wanted, "Maximum"),
            _graph("Backlog for each worker", [(m, "fleet_backlog_per_worker") for m in pools]),
        ],
        [
            _graph("Interruptions and crashes of workers", taken, "Sum"),
            _graph("Time to drain, ms", [(m, "drain_ms") for m in pools]),
        ],
    ]


def _graph(
    title: str, shown: list[tuple[FleetMetrics, str]], statistic: str = "Maximum"
) -> cloudwatch.GraphWidget:
    left = [
        metrics.of(name, statistic).with_(label=f"{metrics.pool} {name}") for metrics, name in shown
    ]
    return cloudwatch.GraphWidget(title=title, left=left, width=_HALF)


def _pools(deployment: Deployment) -> list[FleetMetrics]:
    if not deployment.has_fleet:
        return []
    return [FleetMetrics(stage=deployment.stage, pool=pool) for pool in deployment.fleet_pools]
