"""A gpu pool's instances: bought by their attributes, spot first, drained before they go.

The count is not here: the capacity provider follows what the ECS service asks for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import Aws, Duration, Tags
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from constructs import Construct

from stacks import names
from stacks.parts.acknowledge import acknowledge

if TYPE_CHECKING:
    from stacks.fleet_lane import Fleet
    from stacks.parts.fleet_network import FleetNetwork
    from stacks.stages import Stage

_REGISTER: Final = ("ecs:RegisterContainerInstance", "ecs:DeregisterContainerInstance")
_REPORT: Final = (
    "ecs:Poll",
    "ecs:StartTelemetrySession",
    "ecs:UpdateContainerInstancesState",
    "ecs:SubmitAttachmentStateChanges",
    "ecs:SubmitContainerStateChange",
    "ecs:SubmitTaskStateChange",
)
HOOK_S: Final = 120
"""No longer than a spot notice gives; what has not drained by then goes on elsewhere."""
DEVICE: Final = "/dev/xvda"


class GpuGroup(Construct):
    """An Auto Scaling group and the capacity provider in front of it."""

    def __init__(
        self,
        scope: Construct,
        *,
        stage: Stage,
        pool: str,
        network: FleetNetwork,
    ) -> None:
        super().__init__(scope, f"{pool}-instances")
        fleet = stage.fleet
        self.group = autoscaling.AutoScalingGroup(
            self,
            "Group",
            auto_scaling_group_name=names.workers_group(stage.name, pool),
            vpc=network.vpc,
            vpc_subnets=network.subnets,
            mixed_instances_policy=_instances(_template(self, stage, network), fleet),
            min_capacity=0,
            max_capacity=fleet.max_workers,
            capacity_rebalance=True,
            new_instances_protected_from_scale_in=True,
            cooldown=Duration.seconds(60),
            health_checks=autoscaling.HealthChecks.ec2(grace_period=Duration.minutes(5)),
        )
        # ECS puts this tag on a group whose size it manages; named here, no update takes it off again.
        Tags.of(self.group).add("AmazonECSManaged", "true")
        autoscaling.LifecycleHook(
            self,
            "Terminating",
            auto_scaling_group=self.group,
            lifecycle_hook_name=names.terminating_hook(stage.name, pool),
            lifecycle_transition=autoscaling.LifecycleTransition.INSTANCE_TERMINATING,
            heartbeat_timeout=Duration.seconds(HOOK_S),
            default_result=autoscaling.DefaultResult.CONTINUE,
        )
        self.provider = _provider(self, self.group, fleet)
        _acknowledge(self)


def _instances(template: ec2.LaunchTemplate, fleet: Fleet) -> autoscaling.MixedInstancesPolicy:
    gpus = fleet.gpus
    requirements = autoscaling.CfnAutoScalingGroup.InstanceRequirementsProperty(
        allowed_instance_types=[f"{family}.*" for family in gpus.families],
        accelerator_types=["gpu"],
        accelerator_manufacturers=["nvidia"],
        accelerator_count=autoscaling.CfnAutoScalingGroup.AcceleratorCountRequestProperty(
            min=1, max=1
        ),
        accelerator_total_memory_mib=(
            autoscaling.CfnAutoScalingGroup.AcceleratorTotalMemoryMiBRequestProperty(
                min=gpus.gpu_memory_mib
            )
        ),
        v_cpu_count=autoscaling.CfnAutoScalingGroup.VCpuCountRequestProperty(min=gpus.vcpus),
        memory_mib=autoscaling.CfnAutoScalingGroup.MemoryMiBRequestProperty(min=gpus.memory_mib),
        bare_metal="excluded",
        burstable_performance="excluded",
        max_spot_price_as_percentage_of_optimal_on_demand_price=gpus.spot_price_percent,
        on_demand_max_price_percentage_over_lowest_price=gpus.on_demand_price_percent,
    )
    return autoscaling.MixedInstancesPolicy(
        launch_template=template,
        launch_template_overrides=[
            autoscaling.LaunchTemplateOverrides(instance_requirements=requirements)
        ],
        instances_distribution=autoscaling.InstancesDistribution(
            on_demand_base_capacity=fleet.on_demand_base,
            on_demand_percentage_above_base_capacity=fleet.on_demand_percent,
            on_demand_allocation_strategy=autoscaling.OnDemandAllocationStrategy.LOWEST_PRICE,
            spot_allocation_strategy=autoscaling.SpotAllocationStrategy.PRICE_CAPACITY_OPTIMIZED,
        ),
    )


def _template(scope: Construct, stage: Stage, network: FleetNetwork) -> ec2.LaunchTemplate:
    script = ec2.UserData.for_linux()
    script.add_commands(
        "cat >> /etc/ecs/ecs.config <<'END'",
        f"ECS_CLUSTER={names.fleet_cluster(stage.name)}",
        "ECS_ENABLE_SPOT_INSTANCE_DRAINING=true",
        "ECS_ENABLE_GPU_SUPPORT=true",
        "ECS_CONTAINER_STOP_TIMEOUT=120s",
        # Defaults of ecs-init; without them a worker on the host's network has no role, and no log.
        "ECS_ENABLE_TASK_IAM_ROLE_NETWORK_HOST=true",
        "ECS_ENABLE_AWSLOGS_EXECUTIONROLE_OVERRIDE=true",
        "END",
    )
    disk = ec2.BlockDevice(
        device_name=DEVICE,
        volume=ec2.BlockDeviceVolume.ebs(
            stage.fleet.gpus.disk_gib,
            encrypted=True,
            volume_type=ec2.EbsDeviceVolumeType.GP3,
            delete_on_termination=True,
        ),
    )
    return ec2.LaunchTemplate(
        scope,
        "Template",
        machine_image=ecs.EcsOptimizedImage.amazon_linux2023(ecs.AmiHardwareType.GPU),
        require_imdsv2=True,
        http_put_response_hop_limit=1,
        detailed_monitoring=True,
        block_devices=[disk],
        security_group=network.security_group,
        role=_role(scope, stage),
        user_data=script,
    )


def _role(scope: Construct, stage: Stage) -> iam.Role:
    """What the agent does, and no more: with host networking a worker could use this role too."""
    role = iam.Role(
        scope,
        "Role",
        assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
        description="What the ECS agent of a worker's instance may do",
    )
    cluster = names.fleet_cluster(stage.name)
    below = f"arn:{Aws.PARTITION}:ecs:{Aws.REGION}:{Aws.ACCOUNT_ID}"
    own = [f"{below}:{kind}/{cluster}/*" for kind in ("container-instance", "task")]
    statements = {
        "Register": (_REGISTER, [f"{below}:cluster/{cluster}"]),
        "Report": (_REPORT, [f"{below}:cluster/{cluster}", *own]),
        "Find": (("ecs:DiscoverPollEndpoint",), ["*"]),
    }
    for sid, (actions, resources) in statements.items():
        role.add_to_policy(iam.PolicyStatement(sid=sid, actions=list(actions), resources=resources))
    acknowledge(
        role,
        rule="AwsSolutions-IAM5[Resource::*]",
        reason="ecs:DiscoverPollEndpoint, which tells an agent whom to ask, has no resource to name.",
    )
    written = "arn:<AWS::Partition>:ecs:<AWS::Region>:<AWS::AccountId>"
    for kind in ("container-instance", "task"):
        acknowledge(
            role,
            rule=f"AwsSolutions-IAM5[Resource::{written}:{kind}/{cluster}/*]",
            reason="ECS names instances and tasks when they start; only those of this cluster are meant.",
        )
    return role


def _provider(
    scope: Construct, group: autoscaling.AutoScalingGroup, fleet: Fleet
) -> ecs.CfnCapacityProvider:
    managed = ecs.CfnCapacityProvider.ManagedScalingProperty(
        status="ENABLED",
        target_capacity=100,
        minimum_scaling_step_size=1,
        maximum_scaling_step_size=fleet.max_workers,
        instance_warmup_period=fleet.startup_s,
    )
    return ecs.CfnCapacityProvider(
        scope,
        "Provider",
        auto_scaling_group_provider=ecs.CfnCapacityProvider.AutoScalingGroupProviderProperty(
            auto_scaling_group_arn=group.auto_scaling_group_name,
            managed_scaling=managed,
            managed_termination_protection="ENABLED",
            managed_draining="ENABLED",
        ),
    )


def _acknowledge(group: GpuGroup) -> None:
    acknowledge(
        group.group,
        rule="AwsSolutions-AS3",
        reason="Launches and terminations are the fleet's daily work, minutes apart; what has to wake a "
        "person are the alarms on workers that are missing and jobs that are late.",
    )
    acknowledge(
        group.group,
        rule="AwsSolutions-EC26",
        reason="The rule cannot follow the group to its launch template and fails. The template's one "
        "disk is encrypted, which a test asserts.",
    )
