"""The metrics that alarms and the dashboard look at: our own, Lambda's and the gateway's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stacks import names
from stacks.parts.alarms import metric, percent

if TYPE_CHECKING:
    from aws_cdk import aws_cloudwatch as cloudwatch

    from stacks.stages import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetrics:
    """What the functions write about one model."""

    stage: Stage
    pool: str
    model: str

    def _own(self, name: str, statistic: str) -> cloudwatch.Metric:
        dimensions = {"stage": self.stage.name, "pool": self.pool, "model": self.model}
        return metric(
            names.METRICS_NAMESPACE,
            name,
            dimensions,
            statistic=statistic,
            stage=self.stage,
        )

    @property
    def requests(self) -> cloudwatch.Metric:
        """Requests answered, whatever the status."""
        return self._own("requests", "Sum")

    @property
    def cold_starts(self) -> cloudwatch.Metric:
        """Requests that waited for an environment to start."""
        return self._own("cold_starts", "Sum")

    @property
    def error_percent(self) -> cloudwatch.MathExpression:
        """Requests that failed through a fault of ours."""
        return percent(self._own("server_errors", "Sum"), self.requests, label=self.model)

    def latency_ms(self, statistic: str) -> cloudwatch.Metric:
        """Time in the handler, for example `p99`."""
        return self._own("latency_ms", statistic)


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionMetrics:
    """What Lambda itself counts, of a function or of its alias."""

    stage: Stage
    function: str
    alias: str | None = None

    def _lambda(self, name: str, statistic: str) -> cloudwatch.Metric:
        dimensions = {"FunctionName": self.function}
        if self.alias is not None:
            dimensions["Resource"] = f"{self.function}:{self.alias}"
        return metric(
            "AWS/Lambda",
            name,
            dimensions,
            statistic=statistic,
            stage=self.stage,
        )

    @property
    def error_percent(self) -> cloudwatch.MathExpression:
        """Invocations that crashed, timed out or ran out of memory: they write no metric of ours."""
        return percent(
            self._lambda("Errors", "Sum"), self._lambda("Invocations", "Sum"), label=self.function
        )

    @property
    def throttles(self) -> cloudwatch.Metric:
        """Invocations that Lambda refused for concurrency."""
        return self._lambda("Throttles", "Sum")

    @property
    def concurrent(self) -> cloudwatch.Metric:
        """Environments busy at once."""
        return self._lambda("ConcurrentExecutions", "Maximum")

    @property
    def spill_over(self) -> cloudwatch.Metric:
        """Invocations that found no provisioned environment free."""
        return self._lambda("ProvisionedConcurrencySpilloverInvocations", "Sum")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayMetrics:
    """What the HTTP API counts."""

    stage: Stage
    api_id: str

    def _gateway(self, name: str, statistic: str) -> cloudwatch.Metric:
        return metric(
            "AWS/ApiGateway",
            name,
            {"ApiId": self.api_id, "Stage": "$default"},
            statistic=statistic,
            stage=self.stage,
        )

    @property
    def requests(self) -> cloudwatch.Metric:
        """Calls that reached the API."""
        return self._gateway("Count", "Sum")

    @property
    def server_error_percent(self) -> cloudwatch.MathExpression:
        """Calls answered 5xx, by us or by the gateway."""
        return percent(self._gateway("5xx", "Sum"), self.requests, label="5xx")

    @property
    def client_errors(self) -> cloudwatch.Metric:
        """Calls answered 4xx."""
        return self._gateway("4xx", "Sum")

    def latency_ms(self, statistic: str) -> cloudwatch.Metric:
        """From the gateway's first byte in to its last byte out."""
        return self._gateway("Latency", statistic)
