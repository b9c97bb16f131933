"""A pool's long-lived workers: the task, its role and log, and the service that keeps as many as it is told.

The service's count is the fleet scaler's and is not in the template: an update leaves it as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aws_cdk import Aws, Duration, RemovalPolicy
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk.aws_ecr_assets import Platform
from constructs import Construct

from shared.settings import WorkerSettings
from stacks import names
from stacks.errors import SynthError
from stacks.packaging.image import build_args
from stacks.parts.acknowledge import acknowledge
from stacks.parts.function import retention
from stacks.parts.job_resources import CHUNKS, JobResources
from stacks.parts.permissions import allow
from stacks.parts.pool_permissions import allow_receiving, allow_working

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_cdk import Stack
    from aws_cdk import aws_kms as kms

    from stacks.deployment import Deployment
    from stacks.parts.fleet_network import FleetNetwork
    from stacks.parts.gpu_group import GpuGroup
    from stacks.stages import Stage

STOP_S: Final = 120
DRAIN_S: Final = 100
"""Less than the time that ECS gives a task to stop."""
ENGINES: Final = "/var/cache/laneway"
_SCRATCH_MIB: Final = 1024
_DEVICE_SHARE: Final = 0.5
"""Of a device's memory: loaded models; the rest is for what runs need."""
_CHECK: Final = ("CMD", "python", "-m", "gpu_workers.probe")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Whose workers they are and where they run: on gpus of `group`, or else on Fargate."""

    deployment: Deployment
    pool: str
    cluster: ecs.ICluster
    network: FleetNetwork
    group: GpuGroup | None

    @property
    def stage(self) -> Stage:
        """The stage."""
        return self.deployment.stage

    @property
    def on_gpu(self) -> bool:
        """Whether they run on gpus."""
        return self.group is not None


class Workers(Construct):
    """The workers of one pool."""

    def __init__(self, stack: Stack, plan: Plan, *, tables_key: kms.IKey | None) -> None:
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
            retention=retention(stage.log_retention_days),
            removal_policy=RemovalPolicy.DESTROY,
        )
        environment = _settings(plan, resources).to_env()
        self.task = _task(self, plan, environment, log_group)
        _allow(self, plan, resources, tables_key)
        self.service = _service(self, plan)
        _acknowledge(self)


def _allow(
    workers: Workers, plan: Plan, resources: JobResources, tables_key: kms.IKey | None
) -> None:
    stage = plan.stage
    allow_working(workers, resources, plan.pool, tables_key)
    queues = resources.sqs_queues(plan.pool)
    if not plan.on_gpu:
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
        secret = stage.rabbitmq.secret_arn
        allow(
            workers,
            "ReadBrokersSecret",
            actions=["secretsmanager:GetSecretValue"],
            resources=[secret],
        )


def _allow_below(
    workers: Workers, sid: str, *, actions: list[str], resource: tuple[str, str], reason: str
) -> None:
    """Allow actions on what AWS names at run time; `resource`: the service, and the rest of the ARN."""
    service, rest = resource
    arn = f"arn:{Aws.PARTITION}:{service}:{Aws.REGION}:{Aws.ACCOUNT_ID}:{rest}"
    allow(workers, sid, actions=actions, resources=[arn])
    written = f"arn:<AWS::Partition>:{service}:<AWS::Region>:<AWS::AccountId>:{rest}"
    acknowledge(workers.role, rule=f"AwsSolutions-IAM5[Resource::{written}]", reason=reason)


def _settings(plan: Plan, resources: JobResources) -> WorkerSettings:
    stage, pool = plan.stage, plan.pool
    members = resources.settings()
    if not plan.on_gpu:  # chunks of pools on a cpu are a function's
        members["queues"][pool].pop(CHUNKS)
    return WorkerSettings(
        **members,
        pool=pool,
        dead_letters=resources.dead_letters(pool),
        webhooks_queue=resources.queue_url(names.webhooks_queue(stage.name)),
        models_elsewhere=plan.deployment.models_elsewhere(pool),
        models="/srv/laneway",
        drain_s=DRAIN_S,
        amqp_secret="" if stage.rabbitmq is None else stage.rabbitmq.secret_arn,
        **_device(plan),
    )


def _device(plan: Plan) -> dict[str, Any]:
    """The settings in which a worker on a gpu differs from one on Fargate."""
    fleet, stage = plan.stage.fleet, plan.stage.name
    if not plan.on_gpu:
        memory_mib = int(_DEVICE_SHARE * fleet.memory_mib)
        return {"platform": "fargate", "device": "cpu", "device_memory_mib": memory_mib}
    return {
        "platform": "ec2",
        "device": "cuda:0",
        "device_memory_mib": int(_DEVICE_SHARE * fleet.gpus.gpu_memory_mib),
        "engine_cache": ENGINES,
        "autoscaling_group": names.workers_group(stage, plan.pool),
        "lifecycle_hook": names.terminating_hook(stage, plan.pool),
    }


def _task(
    workers: Workers, plan: Plan, environment: Mapping[str, str], log_group: logs.LogGroup
) -> ecs.TaskDefinition:
    images = plan.deployment.assets.images
    if plan.pool not in images:
        raise SynthError(f"the image of pool {plan.pool!r} was not built")
    task = _gpu_task(workers) if plan.on_gpu else _cpu_task(workers, plan)
    container = task.add_container(
        "worker",
        container_name="worker",
        image=ecs.ContainerImage.from_asset(
            str(images[plan.pool].folder),
            build_args=build_args("cuda" if plan.on_gpu else "cpu"),
            platform=Platform.LINUX_AMD64,
            asset_name=f"{plan.pool}-worker",
        ),
        environment=dict(environment),
        stop_timeout=Duration.seconds(STOP_S),
        health_check=ecs.HealthCheck(
            command=list(_CHECK),
            interval=Duration.seconds(30),
            timeout=Duration.seconds(10),
            retries=4,
            start_period=Duration.seconds(300),
        ),
        logging=ecs.LogDrivers.aws_logs(log_group=log_group, stream_prefix="worker"),
        **(_on_gpu(workers, plan) if plan.on_gpu else {}),
    )
    if plan.on_gpu:
        container.add_mount_points(
            ecs.MountPoint(container_path=ENGINES, source_volume="engines", read_only=False)
        )
    return task


def _on_gpu(workers: Workers, plan: Plan) -> dict[str, Any]:
    """What Fargate has not: a device, and a scratch that a worker may write to beside a read-only root."""
    return {
        "gpu_count": 1,
        "memory_reservation_mib": plan.stage.fleet.gpus.memory_mib // 2,
        "readonly_root_filesystem": True,
        "linux_parameters": _linux(workers),
    }


def _gpu_task(workers: Workers) -> ecs.TaskDefinition:
    """Host networking: a hop limit of 1 still reaches the instance's metadata from the worker."""
    return ecs.Ec2TaskDefinition(
        workers,
        "Task",
        network_mode=ecs.NetworkMode.HOST,
        task_role=workers.role,
        volumes=[
            ecs.Volume(  # a volume of Docker's takes over who owns the folder in the image
                name="engines",
                docker_volume_configuration=ecs.DockerVolumeConfiguration(
                    driver="local", scope=ecs.Scope.SHARED, autoprovision=True
                ),
            )
        ],
    )


def _cpu_task(workers: Workers, plan: Plan) -> ecs.TaskDefinition:
    fleet = plan.stage.fleet
    return ecs.FargateTaskDefinition(
        workers,
        "Task",
        cpu=fleet.cpu_units,
        memory_limit_mib=fleet.memory_mib,
        task_role=workers.role,
        runtime_platform=ecs.RuntimePlatform(
            cpu_architecture=ecs.CpuArchitecture.X86_64,
            operating_system_family=ecs.OperatingSystemFamily.LINUX,
        ),
    )


def _linux(workers: Workers) -> ecs.LinuxParameters:
    parameters = ecs.LinuxParameters(workers, "Linux", init_process_enabled=True)
    parameters.add_tmpfs(
        ecs.Tmpfs(
            container_path="/tmp",  # noqa: S108 - in the container, where nothing else is writable
            size=_SCRATCH_MIB,
            mount_options=[ecs.TmpfsMountOption.NOSUID, ecs.TmpfsMountOption.NODEV],
        )
    )
    return parameters


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
