"""The metrics of the queue lane: what workers write of jobs, and what SQS counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stacks import names
from stacks.parts.alarms import metric, percent

if TYPE_CHECKING:
    from aws_cdk import aws_cloudwatch as cloudwatch

    from stacks.stages import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class JobMetrics:
    """What workers write about the jobs of one pool and latency class (shared/job_telemetry.py)."""

    stage: Stage
    pool: str
    latency_class: str

    def _own(self, name: str, statistic: str) -> cloudwatch.Metric:
        dimensions = {
            "stage": self.stage.name,
            "pool": self.pool,
            "latency_class": self.latency_class,
        }
        return metric(
            names.METRICS_NAMESPACE, name, dimensions, statistic=statistic, stage=self.stage
        )

    @property
    def label(self) -> str:
        """As graphs call it."""
        return f"{self.pool} {self.latency_class}"

    @property
    def jobs(self) -> cloudwatch.Metric:
        """Jobs that ended, succeeded or failed."""
        return self._own("jobs", "Sum")

    @property
    def failure_percent(self) -> cloudwatch.MathExpression:
        """Jobs that failed, of those that ended."""
        suffix = f"{self.pool}-{self.latency_class}"
        return percent(self._own("job_failures", "Sum"), self.jobs, label=suffix)

    @property
    def attempts(self) -> cloudwatch.Metric:
        """Runs that a job took; above 1 where workers die."""
        return self._own("attempts", "Average")

    @property
    def rows_stacked(self) -> cloudwatch.Metric:
        """Rows that ran together."""
        return self._own("rows_stacked", "Average")

    def queue_ms(self, statistic: str) -> cloudwatch.Metric:
        """From acceptance to the first run."""
        return self._own("queue_ms", statistic)

    def run_ms(self, statistic: str) -> cloudwatch.Metric:
        """In the model."""
        return self._own("run_ms", statistic)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueMetrics:
    """What SQS counts of one queue."""

    stage: Stage
    queue: str

    def _sqs(self, name: str) -> cloudwatch.Metric:
        dimensions = {"QueueName": self.queue}
        return metric("AWS/SQS", name, dimensions, statistic="Maximum", stage=self.stage)

    @property
    def waiting(self) -> cloudwatch.Metric:
        """Messages that somebody may receive."""
        return self._sqs("ApproximateNumberOfMessagesVisible")

    @property
    def age_s(self) -> cloudwatch.Metric:
        """How long the oldest message has been there."""
        return self._sqs("ApproximateAgeOfOldestMessage")


def webhook_metric(stage: Stage, name: str) -> cloudwatch.Metric:
    """`webhook_deliveries` or `webhook_failures`, attempts over the whole stage."""
    return metric(
        names.METRICS_NAMESPACE, name, {"stage": stage.name}, statistic="Sum", stage=stage
    )
