"""The function that decides how many workers there are, what wakes it, and what it remembers."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from aws_cdk import ArnFormat, Duration
from aws_cdk import aws_events as events
from aws_cdk.aws_events_targets import LambdaFunction

from shared.results.table import DUE
from shared.settings.jobs import FleetScalerSettings
from stacks import names
from stacks.parts.acknowledge import acknowledge, acknowledge_schedule
from stacks.parts.function import LanewayFunction, with_plugins_off
from stacks.parts.job_resources import CHUNKS, JobResources
from stacks.parts.permissions import allow, allow_invoking
from stacks.parts.table import make_table

if TYPE_CHECKING:
    from aws_cdk import Stack
    from aws_cdk import aws_lambda as lambda_

    from stacks.deployment import Deployment

HANDLER: Final = "functions.fleet_scaler.handler.handler"
LOOK_EVERY_S: Final = 60
_TIMEOUT_S: Final = 50
_MEMORY_MIB: Final = 256


def fleet_scaler(
    stack: Stack,
    deployment: Deployment,
    *,
    layer: lambda_.ILayerVersion,
) -> events.Rule:
    """The scaler with its table; gives the rule that starts it every minute."""
    stage, resources = deployment.stage, JobResources(stack, deployment)
    part = LanewayFunction(
        stack,
        "FleetScaler",
        stage=stage,
        name=names.fleet_scaler_function(stage.name),
        description="Decides, every minute and when a submit wakes it, how many workers there are",
        handler=HANDLER,
        package=deployment.assets.fleet_scaler,
        layers=[layer],
        environment=with_plugins_off(scaler_settings(deployment, resources).to_env()),
        memory_mib=_MEMORY_MIB,
        timeout_s=_TIMEOUT_S,
    )
    # A wake is a hint of now: an old one, or a second try, tells nothing that the next look does not see.
    part.function.configure_async_invoke(max_event_age=Duration.seconds(60), retry_attempts=0)
    acknowledge(
        part.function,
        rule="Serverless-LambdaAsyncFailureDestination",
        reason="A look that failed has an alarm and is made good by the next one within a minute; its event says "
        "nothing that would be worth keeping.",
    )
    _allow_looking(part, deployment, resources)
    _allow_deciding(stack, part, deployment)
    _hear_of_tasks(stack, part, deployment)
    rule = events.Rule(
        part,
        "EveryMinute",
        description="Starts the fleet scaler",
        schedule=events.Schedule.rate(Duration.seconds(LOOK_EVERY_S)),
        targets=[LambdaFunction(part.function)],
    )
    acknowledge_schedule(rule)
    return rule


def scaler_settings(deployment: Deployment, resources: JobResources) -> FleetScalerSettings:
    """What the scaler is told; a job is reckoned at the slowest promise of its pool's models."""
    stage, pools = deployment.stage, deployment.fleet_pools
    fleet, members = stage.fleet, resources.settings()
    members["queues"] = {pool: dict(members["queues"][pool]) for pool in pools}
    for pool in set(pools) - set(deployment.gpu_pools):
        members["queues"][pool].pop(CHUNKS)  # a function runs them
    return FleetScalerSettings(
        **members,
        cluster=names.fleet_cluster(stage.name),
        services={pool: names.workers_service(stage.name, pool) for pool in pools},
        fleet_table=names.fleet_table(stage.name),
        job_s={pool: _job_s(deployment, pool) for pool in pools},
        chunk_s=fleet.chunk_s,
        async_wait_s=fleet.wait_s["async"],
        batch_wait_s=fleet.wait_s["batch"],
        idle_s=fleet.idle_s,
        min_workers=fleet.min_workers,
        max_workers=fleet.max_workers,
    )


def _job_s(deployment: Deployment, pool: str) -> float:
    models = deployment.repository.models_of(pool)
    return max(entry.spec.target_p99_ms for entry in models) / 1000


def _allow_looking(
    part: LanewayFunction,
    deployment: Deployment,
    resources: JobResources,
) -> None:
    pools = deployment.fleet_pools
    allow(
        part,
        "CountLeases",
        actions=["dynamodb:Query"],
        resources=[resources.table_arn(index=DUE)],
    )
    queues = [
        name
        for pool in pools
        for kind, name in resources.sqs_queues(pool).items()
        if kind != CHUNKS or pool in deployment.gpu_pools
    ]
    allow(
        part,
        "CountMessages",
        actions=["sqs:GetQueueAttributes"],
        resources=[resources.queue_arn(name) for name in queues],
    )
    allow_invoking(part, resources, resources.send_functions)


def _allow_deciding(stack: Stack, part: LanewayFunction, deployment: Deployment) -> None:
    stage = deployment.stage
    table = make_table(
        stack,
        "Fleet",
        stage=dataclasses.replace(stage, keep_data=False),  # it holds nothing worth keeping
        definition={
            "TableName": names.fleet_table(stage.name),
            "KeySchema": [{"AttributeName": "pool", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "pool", "AttributeType": "S"}],
        },
    )
    allow(
        part,
        "Remember",
        actions=["dynamodb:GetItem", "dynamodb:PutItem"],
        resources=[table.table_arn],
    )
    allow(
        part,
        "Resize",
        actions=["ecs:DescribeServices", "ecs:UpdateService"],
        resources=[
            stack.format_arn(
                service="ecs",
                resource="service",
                resource_name=(
                    f"{names.fleet_cluster(stage.name)}/{names.workers_service(stage.name, pool)}"
                ),
            )
            for pool in deployment.fleet_pools
        ],
    )


def _hear_of_tasks(stack: Stack, part: LanewayFunction, deployment: Deployment) -> None:
    cluster = stack.format_arn(
        service="ecs",
        resource="cluster",
        resource_name=names.fleet_cluster(deployment.stage.name),
        arn_format=ArnFormat.SLASH_RESOURCE_NAME,
    )
    rule = events.Rule(
        part,
        "TasksStopped",
        description="Tells the fleet scaler of workers that ended",
        event_pattern=events.EventPattern(
            source=["aws.ecs"],
            detail_type=["ECS Task State Change"],
            detail={"clusterArn": [cluster], "lastStatus": ["STOPPED"]},
        ),
        targets=[LambdaFunction(part.function)],
    )
    acknowledge_schedule(rule)
