"""The dashboard's rows about batches: lines, chunks and how batches ended (shared/batch_telemetry.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.schema.batch_status import BATCH_TERMINAL
from stacks import names
from stacks.parts.alarms import metric, percent
from stacks.parts.dashboard import graph

if TYPE_CHECKING:
    from aws_cdk import aws_cloudwatch as cloudwatch

    from stacks.deployment import Deployment
    from stacks.stages import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchMetrics:
    """What workers write about the chunks of one pool, and the finisher about its batches."""

    stage: Stage
    pool: str

    def _own(self, name: str, statistic: str, **more: str) -> cloudwatch.Metric:
        dimensions = {"stage": self.stage.name, "pool": self.pool, **more}
        return metric(
            names.METRICS_NAMESPACE, name, dimensions, statistic=statistic, stage=self.stage
        )

    @property
    def lines(self) -> cloudwatch.Metric:
        """Lines that were answered or refused."""
        return self._own("chunk_lines", "Sum")

    @property
    def line_failure_percent(self) -> cloudwatch.MathExpression:
        """Lines that were refused, of these."""
        failures = self._own("chunk_line_failures", "Sum")
        return percent(failures, self.lines, label=f"{self.pool}-lines")

    @property
    def attempts(self) -> cloudwatch.Metric:
        """Runs that a chunk took; above 1 where workers die."""
        return self._own("chunk_attempts", "Average")

    @property
    def chunk_ms(self) -> cloudwatch.Metric:
        """Of a run of a chunk."""
        return self._own("chunk_ms", "p90")

    @property
    def batch_s(self) -> cloudwatch.Metric:
        """From acceptance to the end."""
        return self._own("batch_s", "Maximum")

    def ended(self, status: str) -> cloudwatch.Metric:
        """Batches that ended so."""
        return self._own("batches", "Sum", status=status)


def batch_rows(deployment: Deployment) -> list[list[cloudwatch.IWidget]]:
    """Two graphs a row: how batches ended and how long they took, lines, chunks."""
    pools = [BatchMetrics(stage=deployment.stage, pool=pool) for pool in deployment.queue_pools]
    ended = [
        pool.ended(status).with_(label=f"{pool.pool} {status}")
        for pool in pools
        for status in sorted(BATCH_TERMINAL)
    ]
    return [
        [
            graph("Batches ended", ended),
            graph("Longest batch, s", [_by_pool(pool.batch_s, pool) for pool in pools]),
        ],
        [
            graph("Lines of batches", [_by_pool(pool.lines, pool) for pool in pools]),
            graph("Lines refused, percent", [pool.line_failure_percent for pool in pools]),
        ],
        [
            graph("Run of a chunk, p90 in ms", [_by_pool(p.chunk_ms, p) for p in pools]),
            graph("Attempts a chunk", [_by_pool(pool.attempts, pool) for pool in pools]),
        ],
    ]


def _by_pool(found: cloudwatch.Metric, pool: BatchMetrics) -> cloudwatch.Metric:
    return found.with_(label=pool.pool)
