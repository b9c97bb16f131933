"""What is watched of the queue lane: its alarms, and its rows of the dashboard.

Jobs wait by design, so an alarm asks whether they wait longer than their class promises. Nothing
consumes a dead-letter queue by itself: one message in it is a person's work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import aws_cloudwatch as cloudwatch

from stacks import names
from stacks.parts.job_resources import CHUNKS
from stacks.parts.lane_metrics import JobMetrics, QueueMetrics, webhook_metric
from stacks.queue_lane import CLASSES, class_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stacks.deployment import Deployment
    from stacks.parts.alarms import AlarmMaker

_HALF: Final = 12


def job_functions(deployment: Deployment) -> list[str]:
    """Names of the functions of the queue lane."""
    stage = deployment.stage.name
    return [
        *(names.queue_worker_function(stage, pool) for pool in deployment.job_function_pools),
        *(names.chunk_worker_function(stage, pool) for pool in deployment.chunk_function_pools),
        names.sweeper_function(stage),
        names.webhooks_function(stage),
        names.batch_splitter_function(stage),
        names.batch_finisher_function(stage),
        *deployment.send_functions,
        *deployment.scaler_functions,
    ]


def watch_queues(alarms: AlarmMaker, deployment: Deployment) -> None:
    """Alarms on what is late, what fails, and what was given up."""
    stage = deployment.stage
    for metrics in _jobs(deployment):
        alarms.above(
            f"{metrics.pool}-{metrics.latency_class}-failures",
            metrics.failure_percent,
            threshold=stage.alarms.error_rate_percent,
            description=f"{metrics.latency_class} jobs of pool {metrics.pool} that failed, in "
            "percent of those that ended",
        )
    for pool, kind in _job_queues(deployment):
        _watch_age(alarms, deployment, pool, kind)
    for queue in _queues(deployment):
        short = queue.removeprefix(f"laneway-{stage.name}-")
        alarms.above(
            f"{short}-dead-letters",
            QueueMetrics(stage=stage, queue=names.dead_letters(queue)).waiting,
            threshold=0,
            description=f"Messages of {queue} that nobody will try again: laneway dlq list",
        )


def _watch_age(alarms: AlarmMaker, deployment: Deployment, pool: str, kind: str) -> None:
    target_s = deployment.target_s(pool, kind)
    queue = names.pool_queue(deployment.stage.name, pool, kind)
    alarms.above(
        f"{pool}-{kind}-late",
        QueueMetrics(stage=deployment.stage, queue=queue).age_s,
        threshold=target_s,
        description=f"A {class_of(kind)} job of pool {pool} waits longer than the {target_s} s "
        "that it may",
    )


def dashboard_rows(deployment: Deployment) -> list[list[cloudwatch.IWidget]]:
    """Two graphs a row: ended and failed, waiting, running, and what waits where."""
    stage, jobs = deployment.stage, _jobs(deployment)
    queues = {
        queue.removeprefix(f"laneway-{stage.name}-"): QueueMetrics(stage=stage, queue=queue)
        for queue in _queues(deployment)
    }
    return [
        [
            _graph("Jobs ended", [job.jobs.with_(label=job.label) for job in jobs]),
            _graph("Jobs failed, percent", [job.failure_percent for job in jobs]),
        ],
        [
            _graph("Wait for a worker, p90 in ms", [_p90(job, "queue") for job in jobs]),
            _graph("Run, p90 in ms", [_p90(job, "run") for job in jobs]),
        ],
        [
            _graph("Rows that ran together", [m.rows_stacked.with_(label=m.label) for m in jobs]),
            _graph("Attempts a job", [m.attempts.with_(label=m.label) for m in jobs]),
        ],
        [
            _graph(
                "Age of the oldest message, s", [q.age_s.with_(label=n) for n, q in queues.items()]
            ),
            _graph("Messages waiting", [q.waiting.with_(label=n) for n, q in queues.items()]),
        ],
        [
            _graph(
                "Webhooks, attempts",
                [webhook_metric(stage, f"webhook_{what}") for what in ("deliveries", "failures")],
            ),
            _graph("Swept", [webhook_metric(stage, f"swept_{what}") for what in _SWEPT]),
        ],
    ]


_SWEPT: Final = ("sent", "expired", "exhausted", "not_confirmed")


def _p90(job: JobMetrics, what: str) -> cloudwatch.Metric:
    found = job.queue_ms("p90") if what == "queue" else job.run_ms("p90")
    return found.with_(label=job.label)


def _jobs(deployment: Deployment) -> list[JobMetrics]:
    return [
        JobMetrics(stage=deployment.stage, pool=pool, latency_class=kind)
        for pool in deployment.queue_pools
        for kind in CLASSES
    ]


def _job_queues(deployment: Deployment) -> list[tuple[str, str]]:
    """Pools and kinds of the queues of jobs that are on SQS."""
    if deployment.stage.broker != "sqs":
        return []
    return [(pool, kind) for pool in deployment.queue_pools for kind in deployment.job_queues(pool)]


def _queues(deployment: Deployment) -> list[str]:
    stage = deployment.stage.name
    return [
        *(names.pool_queue(stage, pool, kind) for pool, kind in _job_queues(deployment)),
        *(names.pool_queue(stage, pool, CHUNKS) for pool in deployment.queue_pools),
        names.split_queue(stage),
        names.finish_queue(stage),
        names.webhooks_queue(stage),
    ]


def _graph(title: str, metrics: Sequence[cloudwatch.IMetric]) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(title=title, left=list(metrics), width=_HALF)
