"""The function that sends to RabbitMQ from within its network: the one place of a stage that speaks AMQP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_

from shared.settings.jobs import SendSettings
from stacks import names
from stacks.errors import SynthError
from stacks.parts.acknowledge import acknowledge
from stacks.parts.function import LanewayFunction, with_plugins_off
from stacks.parts.permissions import allow, allow_brokers_secret

if TYPE_CHECKING:
    from stacks.deployment import Deployment
    from stacks.fleet_lane import RabbitMQ
    from stacks.stages import Stage

HANDLER: Final = "functions.send.handler.handler"
_TIMEOUT_S: Final = 15
"""Its callers wait for 8."""
_MEMORY_MIB: Final = 256
_INTERFACE_ACTIONS: Final = (
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
)


def send_function(
    stack: Stack, deployment: Deployment, *, layer: lambda_.ILayerVersion
) -> LanewayFunction:
    """The function, in the broker's subnets; on one's own machine, outside of any."""
    stage, named = deployment.stage, deployment.stage.rabbitmq
    if deployment.assets.send is None:
        raise SynthError("the package of the function that sends to RabbitMQ was not built")
    secret = _local_secret(stack, stage) if named is None else named.secret_arn
    settings = SendSettings(
        stage=stage.name,
        log_level=stage.log_level,
        queues={
            pool: {
                kind: names.pool_queue(stage.name, pool, kind)
                for kind in deployment.job_queues(pool)
            }
            for pool in deployment.queue_pools
        },
        amqp_secret=secret,
    )
    part = LanewayFunction(
        stack,
        "Send",
        stage=stage,
        name=names.send_function(stage.name),
        description="Sends jobs to RabbitMQ, and tells what waits there",
        handler=HANDLER,
        package=deployment.assets.send,
        layers=[layer],
        environment=with_plugins_off(settings.to_env()),
        memory_mib=_MEMORY_MIB,
        timeout_s=_TIMEOUT_S,
    )
    if named is None:
        allow(part, "ReadSecret", actions=["secretsmanager:GetSecretValue"], resources=[secret])
    else:
        allow_brokers_secret(part, named)
        _join(part, stage, named)
    return part


def _local_secret(stack: Stack, stage: Stage) -> str:
    """Made by `make dev` with the address of the broker that it starts."""
    return stack.format_arn(
        service="secretsmanager",
        resource="secret",
        resource_name=names.broker_secret(stage.name),
        arn_format=ArnFormat.COLON_RESOURCE_NAME,
    )


def _join(part: LanewayFunction, stage: Stage, broker: RabbitMQ) -> None:
    """Lambda joins the network under the function's role; the function's own code is denied it."""
    allow(part, "JoinNetwork", actions=_INTERFACE_ACTIONS, resources=["*"])
    own = Stack.of(part).format_arn(
        service="lambda",
        resource="function",
        resource_name=names.send_function(stage.name),
        arn_format=ArnFormat.COLON_RESOURCE_NAME,
    )
    part.role.add_to_policy(
        iam.PolicyStatement(
            sid="ByLambdaAlone",
            effect=iam.Effect.DENY,
            actions=list(_INTERFACE_ACTIONS),
            resources=["*"],
            conditions={"ArnEquals": {"lambda:SourceFunctionArn": own}},
        )
    )
    acknowledge(
        part.role,
        rule="AwsSolutions-IAM5[Resource::*]",
        reason="Lambda makes a function's network interfaces in its name, and their ids are not known "
        "before; xray has no resource to name either.",
    )
    function = part.function.node.default_child
    if not isinstance(function, lambda_.CfnFunction):
        raise TypeError("the CDK makes functions in another way than this module knows")
    function.vpc_config = lambda_.CfnFunction.VpcConfigProperty(
        subnet_ids=list(broker.subnets), security_group_ids=[broker.security_group]
    )
