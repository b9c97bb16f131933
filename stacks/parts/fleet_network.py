"""Where workers are: a network of their own without a way in, or that of the stage's broker.

Its own has no internet: workers reach AWS through endpoints. A NAT gateway instead is the stage's choice,
and cheaper at rest; docs/costs.md has both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aws_cdk import Annotations
from aws_cdk import aws_ec2 as ec2

from stacks.parts.acknowledge import acknowledge

if TYPE_CHECKING:
    from constructs import Construct

    from stacks.stages import Stage

ENDPOINTS: Final = (
    ("Ecs", ec2.InterfaceVpcEndpointAwsService.ECS),
    ("EcsAgent", ec2.InterfaceVpcEndpointAwsService.ECS_AGENT),
    ("EcsTelemetry", ec2.InterfaceVpcEndpointAwsService.ECS_TELEMETRY),
    ("EcrApi", ec2.InterfaceVpcEndpointAwsService.ECR),
    ("EcrDocker", ec2.InterfaceVpcEndpointAwsService.ECR_DOCKER),
    ("Logs", ec2.InterfaceVpcEndpointAwsService.CLOUDWATCH_LOGS),
    ("Sqs", ec2.InterfaceVpcEndpointAwsService.SQS),
    ("AutoScaling", ec2.InterfaceVpcEndpointAwsService.AUTOSCALING),
)
"""Everything that agent and worker call, beside S3 and DynamoDB, whose endpoints cost nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetNetwork:
    """What workers are placed in."""

    vpc: ec2.IVpc
    subnets: ec2.SubnetSelection
    security_group: ec2.ISecurityGroup


def fleet_network(scope: Construct, stage: Stage) -> FleetNetwork:
    """The broker's network where the stage names one, else one of the fleet's own."""
    return _existing(scope, stage) if stage.rabbitmq is not None else _own(scope, stage)


def _existing(scope: Construct, stage: Stage) -> FleetNetwork:
    named = stage.rabbitmq
    if named is None:
        raise TypeError("the stage names no broker")
    zones = [f"zone-{number}" for number, _ in enumerate(named.subnets)]  # not written anywhere
    vpc = ec2.Vpc.from_vpc_attributes(
        scope,
        "BrokersVpc",
        vpc_id=named.vpc_id,
        availability_zones=zones,
        private_subnet_ids=list(named.subnets),
    )
    for subnet in vpc.private_subnets:
        Annotations.of(subnet).acknowledge_warning(
            "@aws-cdk/aws-ec2:noSubnetRouteTableId", "Nothing here reads or changes a route."
        )
    return FleetNetwork(
        vpc=vpc,
        subnets=ec2.SubnetSelection(subnets=vpc.private_subnets),
        security_group=ec2.SecurityGroup.from_security_group_id(
            scope, "Workers", named.security_group, mutable=False
        ),
    )


def _own(scope: Construct, stage: Stage) -> FleetNetwork:
    has_nat = stage.fleet.way_out == "nat"
    kind = ec2.SubnetType.PRIVATE_WITH_EGRESS if has_nat else ec2.SubnetType.PRIVATE_ISOLATED
    private = ec2.SubnetConfiguration(name="workers", subnet_type=kind)
    public = ec2.SubnetConfiguration(name="nat", subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=28)
    vpc = ec2.Vpc(
        scope,
        "Vpc",
        vpc_name=f"laneway-{stage.name}-fleet",
        max_azs=stage.fleet.zones,
        nat_gateways=1 if has_nat else 0,
        subnet_configuration=[public, private] if has_nat else [private],
        gateway_endpoints={
            "S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3),
            "Table": ec2.GatewayVpcEndpointOptions(
                service=ec2.GatewayVpcEndpointAwsService.DYNAMODB
            ),
        },
    )
    acknowledge(
        vpc,
        rule="AwsSolutions-VPC7",
        reason="Nothing listens in this network and nothing can come in; its only traffic is that of "
        "the workers to AWS, whose calls CloudTrail has. A flow log would bill every gigabyte.",
    )
    workers = ec2.SecurityGroup(
        scope,
        "Workers",
        vpc=vpc,
        description="Workers: nothing comes in",
        allow_all_outbound=True,
    )
    if not has_nat:
        _endpoints(scope, vpc, workers)
    return FleetNetwork(
        vpc=vpc, subnets=ec2.SubnetSelection(subnet_type=kind), security_group=workers
    )


def _endpoints(scope: Construct, vpc: ec2.Vpc, workers: ec2.SecurityGroup) -> None:
    """In one zone, from where all zones reach them: each further zone would double their price."""
    group = ec2.SecurityGroup(
        scope,
        "Endpoints",
        vpc=vpc,
        description="Endpoints of AWS services, for the workers alone",
        allow_all_outbound=False,
    )
    group.add_ingress_rule(workers, ec2.Port.tcp(443), "Workers call AWS")
    for name, service in ENDPOINTS:
        ec2.InterfaceVpcEndpoint(
            scope,
            f"{name}Endpoint",
            vpc=vpc,
            service=service,
            subnets=ec2.SubnetSelection(subnets=[vpc.isolated_subnets[0]]),
            security_groups=[group],
            private_dns_enabled=True,
            open=False,
        )
