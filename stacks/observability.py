"""The observability stack: alarms that notify the stage's topic, one dashboard, and the budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_logs as logs

from shared.schema.spec import ProvisionedWarm
from stacks import names
from stacks.auth import takes_credentials
from stacks.parts.alarms import AlarmMaker, alarms_topic
from stacks.parts.audit_archive import watch_archive
from stacks.parts.batch_watch import batch_rows
from stacks.parts.budget import monthly_budget
from stacks.parts.dashboard import StageDashboard
from stacks.parts.fleet_watch import fleet_rows, watch_fleet
from stacks.parts.metrics import FunctionMetrics, GatewayMetrics, ModelMetrics
from stacks.parts.queue_watch import dashboard_rows, job_functions, watch_queues

if TYPE_CHECKING:
    from aws_cdk import aws_cloudwatch as cloudwatch
    from constructs import Construct

    from shared.repository import ModelEntry
    from stacks.deployment import Deployment

THROTTLED_METRIC: Final = "gateway_throttled"


class ObservabilityStack(Stack):
    """Everything that watches; removing it changes no answer."""

    def __init__(
        self,
        scope: Construct,
        *,
        deployment: Deployment,
        api_id: str,
        signed_api_id: str | None = None,
    ) -> None:
        stage = deployment.stage
        super().__init__(
            scope,
            names.stack(stage.name, "observability"),
            description=f"Laneway {stage.name}: alarms, dashboard, budget",
        )
        topic = alarms_topic(self, stage)
        alarms = AlarmMaker(self, stage=stage, topic=topic)
        gateway = GatewayMetrics(stage=stage, api_id=api_id)
        _watch_gateway(self, alarms, deployment, gateway)
        if signed_api_id is not None:
            signed = GatewayMetrics(stage=stage, api_id=signed_api_id)
            _watch_errors(alarms, deployment, signed, "gateway-signed-5xx")
        _watch_pools(alarms, deployment)
        watch_queues(alarms, deployment)
        watch_fleet(alarms, deployment)
        watch_archive(alarms, stage)
        for function in job_functions(deployment):
            _watch_job_function(alarms, deployment, function)
        models = [_model_metrics(deployment, entry) for entry in deployment.realtime_models]
        for entry, metrics in zip(deployment.realtime_models, models, strict=True):
            _watch_model(alarms, deployment, entry, metrics)
        if stage.monthly_budget_usd is not None:
            monthly_budget(self, stage=stage, limit_usd=stage.monthly_budget_usd, topic=topic)
        StageDashboard(
            self,
            "Dashboard",
            stage=stage,
            gateway=gateway,
            models=models,
            functions=_pool_functions(deployment),
            alarms=alarms.names,
            more=[*dashboard_rows(deployment), *batch_rows(deployment), *fleet_rows(deployment)],
        )
        CfnOutput(self, "AlarmsTopic", value=topic.topic_arn, description="Notified by every alarm")


def _watch_gateway(
    stack: Stack, alarms: AlarmMaker, deployment: Deployment, gateway: GatewayMetrics
) -> None:
    stage = deployment.stage
    _watch_errors(alarms, deployment, gateway, "gateway-5xx")
    alarms.above(
        "gateway-429",
        _throttled(stack, deployment),
        threshold=0,
        description="Callers were answered 429: raise the stage's throttle, or the account's concurrency",
    )
    functions = [names.ingress_function(stage.name)]
    if takes_credentials(stage.auth):
        functions.append(names.authorizer_function(stage.name))
    for function in functions:
        metrics = FunctionMetrics(stage=stage, function=function)
        short = function.removeprefix(f"laneway-{stage.name}-")
        _watch_function(alarms, deployment, metrics, short)


def _watch_errors(
    alarms: AlarmMaker, deployment: Deployment, gateway: GatewayMetrics, name: str
) -> None:
    alarms.above(
        name,
        gateway.server_error_percent,
        threshold=deployment.stage.alarms.error_rate_percent,
        description="Calls answered 5xx, in percent of all; the access log names the routes",
    )


def _throttled(stack: Stack, deployment: Deployment) -> cloudwatch.Metric:
    """HTTP APIs have no metric of their own for 429; the access log does."""
    stage = deployment.stage
    log_group = logs.LogGroup.from_log_group_name(
        stack, "AccessLog", names.access_log_group(stage.name)
    )
    found = logs.MetricFilter(
        stack,
        "Throttled",
        log_group=log_group,
        filter_pattern=logs.FilterPattern.literal('{ $.status = "429" }'),
        metric_namespace=names.METRICS_NAMESPACE,
        metric_name=f"{THROTTLED_METRIC}_{stage.name}",
        metric_value="1",
    )
    return found.metric(statistic="Sum", period=Duration.seconds(stage.alarms.period_s))


def _watch_pools(alarms: AlarmMaker, deployment: Deployment) -> None:
    for pool, metrics in _pool_functions(deployment).items():
        _watch_function(alarms, deployment, metrics, f"{pool}-realtime")
        if isinstance(deployment.warm_of(pool), ProvisionedWarm):
            alarms.above(
                f"{pool}-realtime-spill-over",
                metrics.spill_over,
                threshold=0,
                description=f"Pool {pool} started cold beyond its warm environments; raise its max",
            )


def _watch_job_function(alarms: AlarmMaker, deployment: Deployment, function: str) -> None:
    """Crashes alone: a throttled worker's messages wait on, and the alarm on lateness tells."""
    alarms.above(
        f"{function.removeprefix(f'laneway-{deployment.stage.name}-')}-crashes",
        FunctionMetrics(stage=deployment.stage, function=function).error_percent,
        threshold=deployment.stage.alarms.error_rate_percent,
        description=f"Invocations of {function} that crashed or timed out, in percent",
    )


def _watch_function(
    alarms: AlarmMaker, deployment: Deployment, metrics: FunctionMetrics, short: str
) -> None:
    alarms.above(
        f"{short}-crashes",
        metrics.error_percent,
        threshold=deployment.stage.alarms.error_rate_percent,
        description=f"Invocations of {metrics.function} that crashed or timed out, in percent",
    )
    alarms.above(
        f"{short}-throttles",
        metrics.throttles,
        threshold=0,
        description=f"Lambda refused {metrics.function} for concurrency; callers saw 500 or 503",
    )


def _watch_model(
    alarms: AlarmMaker, deployment: Deployment, entry: ModelEntry, metrics: ModelMetrics
) -> None:
    alarms.above(
        f"model-{entry.name}-errors",
        metrics.error_percent,
        threshold=deployment.stage.alarms.error_rate_percent,
        description=f"Requests to {entry.name} that failed through a fault of ours, in percent",
    )
    alarms.above(
        f"model-{entry.name}-p99",
        metrics.latency_ms("p99"),
        threshold=entry.spec.target_p99_ms,
        description=f"p99 of {entry.name} in ms, against target_p99_ms of its model.toml",
    )


def _model_metrics(deployment: Deployment, entry: ModelEntry) -> ModelMetrics:
    return ModelMetrics(stage=deployment.stage, pool=entry.spec.pool, model=entry.name)


def _pool_functions(deployment: Deployment) -> dict[str, FunctionMetrics]:
    return {
        pool: FunctionMetrics(
            stage=deployment.stage,
            function=names.realtime_function(deployment.stage.name, pool),
            alias=names.ALIAS,
        )
        for pool in deployment.realtime_pools
    }
