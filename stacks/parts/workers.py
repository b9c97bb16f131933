"""A pool's long-lived workers: their role, their log, and the service that keeps as many as it is told.

The service's count is the fleet scaler's and is not in the template: an update leaves it as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Aws, RemovalPolicy
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs

from stacks import names
from stacks.parts.acknowledge import acknowledge
from stacks.parts.function import retention
from stacks.parts.job_resources import CHUNKS, JobResources
from stacks.parts.permissions import allow, allow_brokers_secret
from stacks.parts.pool_permissions import allow_chunks, allow_jobs, allow_receiving
from stacks.parts.worker_task import Acting, worker_settings, worker_task

if TYPE_CHECKING:
    from aws_cdk import Stack

    from stacks.parts.fleet_network import FleetNetwork
    from stacks.parts.worker_task import Plan


class Workers(Acting):
    """The workers of one pool."""

    def __init__(self, stack: Stack, plan: Plan) -> None:
        super().__init__(stack, f"{plan.pool}-workers")
        stage, pool = plan.stage, plan.pool
        resources = JobResources(stack, plan.deployment)
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com"),
            description=f"What workers of pool {pool} may do",
        )
        log_group = logs.LogGroup(
            self,
            "Logs",
            log_group_name=names.workers_log_group(stage.name, pool),
            retention=retention(stage.retention.logs_days),
            removal_policy=RemovalPolicy.DESTROY,
        )
        environment = {
            **worker_settings(plan, resources).to_env(),
            # Fargate says it to a container, ECS on EC2 does not (aws/containers-roadmap#1611).
            "AWS_DEFAULT_REGION": Aws.REGION,
        }
        self.task = worker_task(self, plan, environment=environment, log_group=log_group)
        _allow(self, plan, resources)
        self.service = _service(self, plan)
        _acknowledge(self)


def _allow(workers: Workers, plan: Plan, resources: JobResources) -> None:
    stage = plan.stage
    allow_jobs(workers, resources, plan.pool)
    queues = resources.sqs_queues(plan.pool)
    if plan.on_gpu:
        allow_chunks(workers, resources, plan.pool)
    else:
        queues.pop(CHUNKS)
    allow_receiving(workers, resources, list(queues.values()))
    _allow_below(
        workers,
        "ProtectItself",
        actions=["ecs:GetTaskProtection", "ecs:UpdateTaskProtection"],
        resource=("ecs", f"task/{names.fleet_cluster(stage.name)}/*"),
        reason="ECS names a task when it starts; only tasks of this cluster can be protected.",
    )
    if plan.on_gpu:
        group = names.workers_group(stage.name, plan.pool)
        _allow_below(
            workers,
            "EndDrain",
            actions=["autoscaling:CompleteLifecycleAction"],
            resource=("autoscaling", f"autoScalingGroup:*:autoScalingGroupName/{group}"),
            reason="The wildcard is the id that AWS gives the group; its name is written out.",
        )
    if stage.rabbitmq is not None:
        allow_brokers_secret(workers, stage.rabbitmq)


def _allow_below(
    workers: Workers, sid: str, *, actions: list[str], resource: tuple[str, str], reason: str
) -> None:
    """Allow actions on what AWS names at run time; `resource`: the service, and the rest of the ARN."""
    service, rest = resource
    arn = f"arn:{Aws.PARTITION}:{service}:{Aws.REGION}:{Aws.ACCOUNT_ID}:{rest}"
    allow(workers, sid, actions=actions, resources=[arn])
    written = f"arn:<AWS::Partition>:{service}:<AWS::Region>:<AWS::AccountId>:{rest}"
    acknowledge(workers.role, rule=f"AwsSolutions-IAM5[Resource::{written}]", reason=reason)


def _service(workers: Workers, plan: Plan) -> ecs.CfnService:
    """Of the CDK's lowest level, which puts no count of its own into the template."""
    return ecs.CfnService(
        workers,
        "Service",
        service_name=names.workers_service(plan.stage.name, plan.pool),
        cluster=plan.cluster.cluster_arn,
        task_definition=workers.task.task_definition_arn,
        capacity_provider_strategy=_capacity(plan),
        deployment_configuration=_deployment(on_gpu=plan.on_gpu),
        placement_constraints=[_one_to_an_instance()] if plan.on_gpu else None,
        network_configuration=None if plan.on_gpu else _addresses(plan.network),
        availability_zone_rebalancing="DISABLED",
        enable_ecs_managed_tags=True,
        propagate_tags="SERVICE",
    )


def _one_to_an_instance() -> ecs.CfnService.PlacementConstraintProperty:
    return ecs.CfnService.PlacementConstraintProperty(type="distinctInstance")


def _deployment(*, on_gpu: bool) -> ecs.CfnService.DeploymentConfigurationProperty:
    """Gpus are replaced in place: a second fleet for minutes may not be had, and jobs wait anyway."""
    return ecs.CfnService.DeploymentConfigurationProperty(
        minimum_healthy_percent=0 if on_gpu else 100,
        maximum_percent=100 if on_gpu else 200,
        deployment_circuit_breaker=ecs.CfnService.DeploymentCircuitBreakerProperty(
            enable=True, rollback=True
        ),
    )


def _capacity(plan: Plan) -> list[ecs.CfnService.CapacityProviderStrategyItemProperty]:
    item = ecs.CfnService.CapacityProviderStrategyItemProperty
    if plan.group is not None:
        return [item(capacity_provider=plan.group.provider.ref, weight=1)]
    fleet = plan.stage.fleet
    found = [item(capacity_provider="FARGATE_SPOT", weight=100 - fleet.on_demand_percent)]
    if fleet.on_demand_percent or fleet.on_demand_base:
        found.append(
            item(
                capacity_provider="FARGATE",
                weight=fleet.on_demand_percent,
                base=fleet.on_demand_base,
            )
        )
    return found


def _addresses(network: FleetNetwork) -> ecs.CfnService.NetworkConfigurationProperty:
    return ecs.CfnService.NetworkConfigurationProperty(
        awsvpc_configuration=ecs.CfnService.AwsVpcConfigurationProperty(
            subnets=network.vpc.select_subnets(subnets=network.subnets.subnets).subnet_ids,
            security_groups=[network.security_group.security_group_id],
            assign_public_ip="DISABLED",
        )
    )


def _acknowledge(workers: Workers) -> None:
    acknowledge(
        workers.task,
        rule="AwsSolutions-ECS2",
        reason="The variables are names and addresses. The broker's credentials are read from their "
        "secret by the worker, so that a rotated one needs no new task definition.",
    )
    acknowledge(
        workers.task,
        rule="AwsSolutions-IAM5[Resource::*]",
        reason="ecr:GetAuthorizationToken of the execution role has no resource to name; the "
        "repository that it reads from is written out.",
    )
