"""The stage's one dashboard: alarms, what callers see, models, pools."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from stacks import names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stacks.parts.metrics import FunctionMetrics, GatewayMetrics, ModelMetrics
    from stacks.stages import Stage

_HALF = 12
"""Of the 24 columns."""


class StageDashboard(Construct):
    """One page; a row per question."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        stage: Stage,
        gateway: GatewayMetrics,
        models: Sequence[ModelMetrics],
        functions: Mapping[str, FunctionMetrics],
        alarms: Sequence[str],
        more: Sequence[Sequence[cloudwatch.IWidget]] = (),
    ) -> None:
        super().__init__(scope, construct_id)
        shown = [_alarm(self, name) for name in alarms]
        page = cloudwatch.Dashboard(self, "Page", dashboard_name=names.dashboard(stage.name))
        page.add_widgets(
            cloudwatch.AlarmStatusWidget(title="Alarms", alarms=shown, width=24, height=4)
        )
        page.add_widgets(
            graph("Calls", [gateway.requests, gateway.client_errors]),
            graph(
                "Latency at the gateway, ms", [gateway.latency_ms("p50"), gateway.latency_ms("p99")]
            ),
        )
        page.add_widgets(
            graph(
                "Requests by model", [model.requests.with_(label=model.model) for model in models]
            ),
            graph("Errors by model, percent", [model.error_percent for model in models]),
        )
        page.add_widgets(
            graph(
                "p99 by model, ms",
                [model.latency_ms("p99").with_(label=model.model) for model in models],
            ),
            graph(
                "Cold starts by model",
                [model.cold_starts.with_(label=model.model) for model in models],
            ),
        )
        page.add_widgets(
            graph(
                "Concurrent environments by pool",
                [pool.concurrent.with_(label=name) for name, pool in functions.items()],
            ),
            graph(
                "Refused and spilled over by pool",
                [
                    metric.with_(label=f"{name} {what}")
                    for name, pool in functions.items()
                    for what, metric in (
                        ("refused", pool.throttles),
                        ("spilled over", pool.spill_over),
                    )
                ],
            ),
        )
        for row in more:
            page.add_widgets(*row)


def graph(title: str, metrics: Sequence[cloudwatch.IMetric]) -> cloudwatch.GraphWidget:
    """Half a row: these metrics over time."""
    return cloudwatch.GraphWidget(title=title, left=list(metrics), width=_HALF)


def _alarm(scope: Construct, name: str) -> cloudwatch.IAlarm:
    """By name, so that the page stands without an alarm that is not deployed (stacks/local.py)."""
    arn = Stack.of(scope).format_arn(
        service="cloudwatch",
        resource="alarm",
        resource_name=name,
        arn_format=ArnFormat.COLON_RESOURCE_NAME,
    )
    return cloudwatch.Alarm.from_alarm_arn(scope, name, arn)
