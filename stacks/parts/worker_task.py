"""What a long-lived worker is started as: its image, its device, its settings and its limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aws_cdk import Duration
from aws_cdk import aws_ecs as ecs
from aws_cdk.aws_ecr_assets import Platform
from constructs import Construct

from shared.settings.jobs import WorkerSettings
from stacks import names
from stacks.errors import SynthError
from stacks.packaging.image import build_args
from stacks.parts.job_resources import CHUNKS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_cdk import aws_iam as iam
    from aws_cdk import aws_logs as logs

    from stacks.deployment import Deployment
    from stacks.packaging.image import Base
    from stacks.parts.fleet_network import FleetNetwork
    from stacks.parts.gpu_group import GpuGroup
    from stacks.parts.job_resources import JobResources
    from stacks.stages import Stage

STOP_S: Final = 120
DRAIN_S: Final = 100
"""Less than the time that ECS gives a task to stop."""
ENGINES: Final = "/var/cache/laneway"
SCRATCH: Final = "/tmp"  # noqa: S108 - in the container
"""On Fargate a volume, which the image has at this path too: so its user may write there."""
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
    def base(self) -> Base:
        """What runs the models, and what the image is built on."""
        if not self.on_gpu:
            return "cpu"
        return "tensorrt" if self.pool in self.stage.fleet.gpus.tensorrt else "cuda"

    @property
    def on_gpu(self) -> bool:
        """Whether they run on gpus."""
        return self.group is not None


class Acting(Construct):
    """A construct that acts under a role of its own."""

    role: iam.Role


def worker_settings(plan: Plan, resources: JobResources) -> WorkerSettings:
    """What the worker is told."""
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
        tenant_share=stage.queue_lane.tenant_share,
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
        "device": f"{plan.base}:0",
        "device_memory_mib": int(_DEVICE_SHARE * fleet.gpus.gpu_memory_mib),
        "engine_cache": ENGINES,
        "autoscaling_group": names.workers_group(stage, plan.pool),
        "lifecycle_hook": names.terminating_hook(stage, plan.pool),
    }


def worker_task(
    workers: Acting, plan: Plan, *, environment: Mapping[str, str], log_group: logs.LogGroup
) -> ecs.TaskDefinition:
    """The task of a pool's worker, which acts under the role of `workers`."""
    images = plan.deployment.assets.images
    if plan.pool not in images:
        raise SynthError(f"the image of pool {plan.pool!r} was not built")
    task = _gpu_task(workers) if plan.on_gpu else _cpu_task(workers, plan)
    container = task.add_container(
        "worker",
        container_name="worker",
        image=ecs.ContainerImage.from_asset(
            str(images[plan.pool].folder),
            build_args=build_args(plan.base),
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
        readonly_root_filesystem=True,
        **(_on_gpu(workers, plan) if plan.on_gpu else {}),
    )
    volume, path = ("engines", ENGINES) if plan.on_gpu else ("scratch", SCRATCH)
    container.add_mount_points(
        ecs.MountPoint(container_path=path, source_volume=volume, read_only=False)
    )
    return task


def _on_gpu(workers: Acting, plan: Plan) -> dict[str, Any]:
    """What a worker on Fargate has not: a device, and its scratch in memory."""
    return {
        "gpu_count": 1,
        "memory_reservation_mib": plan.stage.fleet.gpus.memory_mib // 2,
        "linux_parameters": _linux(workers),
    }


def _gpu_task(workers: Acting) -> ecs.TaskDefinition:
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


def _cpu_task(workers: Acting, plan: Plan) -> ecs.TaskDefinition:
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
        volumes=[ecs.Volume(name="scratch")],
    )


def _linux(workers: Acting) -> ecs.LinuxParameters:
    parameters = ecs.LinuxParameters(workers, "Linux", init_process_enabled=True)
    parameters.add_tmpfs(
        ecs.Tmpfs(
            container_path=SCRATCH,
            size=_SCRATCH_MIB,
            mount_options=[ecs.TmpfsMountOption.NOSUID, ecs.TmpfsMountOption.NODEV],
        )
    )
    return parameters
