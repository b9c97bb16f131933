"""The fleet stack: long-lived workers, on spot gpus or on Fargate, and the function that counts them.

There is one only where a model declares `compute = "gpu"`, or where RabbitMQ carries jobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Stack
from aws_cdk import aws_ecs as ecs

from stacks import names
from stacks.errors import SynthError
from stacks.parts.acknowledge import acknowledge
from stacks.parts.fleet_network import FleetNetwork, fleet_network
from stacks.parts.fleet_scaler import fleet_scaler
from stacks.parts.function import control_layer
from stacks.parts.gpu_group import GpuGroup
from stacks.parts.worker_task import Plan
from stacks.parts.workers import Workers

if TYPE_CHECKING:
    from constructs import Construct

    from stacks.deployment import Deployment


class FleetStack(Stack):
    """Everything of a stage that is neither a function nor a queue."""

    def __init__(self, scope: Construct, *, deployment: Deployment) -> None:
        stage = deployment.stage
        super().__init__(
            scope,
            names.stack(stage.name, "fleet"),
            description=f"Laneway {stage.name}: long-lived workers, and how many there are",
        )
        _check_tensorrt(deployment)
        layer = control_layer(self, deployment.assets.control, stage=stage)
        scaler = fleet_scaler(self, deployment, layer=layer)
        network = fleet_network(self, stage)
        cluster = _cluster(self, deployment, network)
        groups = {
            pool: GpuGroup(self, stage=stage, pool=pool, network=network)
            for pool in deployment.gpu_pools
        }
        capacity = _capacity(self, cluster, groups)
        for pool in deployment.fleet_pools:
            plan = Plan(
                deployment=deployment,
                pool=pool,
                cluster=cluster,
                network=network,
                group=groups.get(pool),
            )
            workers = Workers(self, plan)
            workers.service.node.add_dependency(capacity)
            # A new service begins with one worker. The scaler, already there, sees to it within a
            # minute, so that a first deploy does not wait for a gpu.
            workers.node.add_dependency(scaler)


def _check_tensorrt(deployment: Deployment) -> None:
    unknown = sorted({*deployment.stage.fleet.gpus.tensorrt} - {*deployment.gpu_pools})
    if unknown:
        raise SynthError(
            f"stage {deployment.stage.name!r}: gpus.tensorrt names {', '.join(unknown)}; pools with "
            f"models on a gpu are {', '.join(deployment.gpu_pools) or 'none'}"
        )


def _cluster(stack: FleetStack, deployment: Deployment, network: FleetNetwork) -> ecs.Cluster:
    cluster = ecs.Cluster(
        stack,
        "Cluster",
        cluster_name=names.fleet_cluster(deployment.stage.name),
        vpc=network.vpc,
        container_insights_v2=ecs.ContainerInsights.DISABLED,
    )
    acknowledge(
        cluster,
        rule="AwsSolutions-ECS4",
        reason="The workers and the scaler write what is asked of a fleet, in jobs and waits; Container "
        "Insights would bill a metric for each task beside it.",
    )
    return cluster


def _capacity(
    stack: FleetStack, cluster: ecs.Cluster, groups: dict[str, GpuGroup]
) -> ecs.CfnClusterCapacityProviderAssociations:
    own = [group.provider.ref for group in groups.values()]
    return ecs.CfnClusterCapacityProviderAssociations(
        stack,
        "Capacity",
        cluster=cluster.cluster_name,
        capacity_providers=["FARGATE", "FARGATE_SPOT", *own],
        default_capacity_provider_strategy=[],
    )
