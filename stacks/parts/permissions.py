"""What functions and workers of the queue lane may do: single actions on single resources, in the words of the lane.

Nothing here allows an action by a pattern. Objects and parameters are allowed below a prefix, because
their names hold the tenant; that is the one place where a resource ends in `*`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from aws_cdk import Aws, Stack
from aws_cdk import aws_iam as iam

from stacks.parts.acknowledge import acknowledge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stacks.fleet_lane import RabbitMQ
    from stacks.parts.job_resources import JobResources


RECEIVE: Final = (
    "sqs:ReceiveMessage",
    "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibility",
    "sqs:GetQueueAttributes",
)


class HasRole(Protocol):
    """What acts under a role of its own: a function, a worker."""

    @property
    def role(self) -> iam.Role:
        """Its role."""


def allow(part: HasRole, sid: str, *, actions: Sequence[str], resources: Sequence[str]) -> None:
    """Allow these actions on these resources; nothing where there are none."""
    if resources:
        part.role.add_to_policy(
            iam.PolicyStatement(sid=sid, actions=list(actions), resources=list(resources))
        )


def allow_brokers_secret(part: HasRole, broker: RabbitMQ) -> None:
    """Allow the reading of the broker's secret, and of its own key no use but that."""
    allow(
        part,
        "ReadBrokersSecret",
        actions=["secretsmanager:GetSecretValue"],
        resources=[broker.secret_arn],
    )
    if broker.secret_key_arn is None:
        return
    service = f"secretsmanager.{Aws.REGION}.amazonaws.com"
    part.role.add_to_policy(
        iam.PolicyStatement(
            sid="DecryptBrokersSecret",
            actions=["kms:Decrypt"],
            resources=[broker.secret_key_arn],
            conditions={"StringEquals": {"kms:ViaService": service}},
        )
    )


def allow_below(part: HasRole, sid: str, *, actions: Sequence[str], arns: Sequence[str]) -> None:
    """Allow these actions on everything below prefixes; the ARNs end in `/*`."""
    allow(part, sid, actions=actions, resources=arns)
    for arn in arns:
        acknowledge(
            part.role,
            rule=f"AwsSolutions-IAM5[Resource::{_as_written(part, arn)}]",
            reason="What is below the prefix is named after tenants and jobs, which nobody knows at "
            "synthesis; the prefix is as narrow as can be said.",
        )


def allow_invoking(part: HasRole, resources: JobResources, functions: Sequence[str]) -> None:
    """Allow the calling of these functions, by name."""
    allow(
        part,
        "CallFunctions",
        actions=["lambda:InvokeFunction"],
        resources=[resources.function_arn(name) for name in functions],
    )


def objects_at(places: Sequence[str]) -> list[str]:
    """ARNs of all objects below places such as `s3://bucket/prefix/`."""
    return [f"arn:{Aws.PARTITION}:s3:::{place.removeprefix('s3://')}*" for place in places]


def _as_written(part: HasRole, arn: str) -> str:
    """The ARN as the checks write it in a finding: references become their names in brackets."""
    resolved = Stack.of(part.role).resolve(arn)
    if isinstance(resolved, str):
        return resolved
    separator, members = resolved["Fn::Join"]
    words = [f"<{_referred(member)}>" if isinstance(member, dict) else member for member in members]
    return str(separator.join(words))


def _referred(member: dict[str, Any]) -> str:
    return str(member["Ref"]) if "Ref" in member else ".".join(member["Fn::GetAtt"])
