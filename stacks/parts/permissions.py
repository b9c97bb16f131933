"""What functions of the queue lane may do: single actions on single resources, in the words of the lane.

Nothing here allows an action by a pattern. Objects and parameters are allowed below a prefix, because
their names hold the tenant; that is the one place where a resource ends in `*`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import Aws, Stack
from aws_cdk import aws_iam as iam

from stacks.parts.acknowledge import acknowledge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aws_cdk import aws_kms as kms

    from stacks.parts.function import LanewayFunction

RECEIVE: Final = (
    "sqs:ReceiveMessage",
    "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibility",
    "sqs:GetQueueAttributes",
)
_KEY_ACTIONS: Final = (
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)


def allow(
    part: LanewayFunction, sid: str, *, actions: Sequence[str], resources: Sequence[str]
) -> None:
    """Allow the function these actions on these resources; nothing where there are none."""
    if resources:
        part.role.add_to_policy(
            iam.PolicyStatement(sid=sid, actions=list(actions), resources=list(resources))
        )


def allow_below(
    part: LanewayFunction, sid: str, *, actions: Sequence[str], arns: Sequence[str]
) -> None:
    """Allow the function these actions on everything below prefixes; the ARNs end in `/*`."""
    allow(part, sid, actions=actions, resources=arns)
    for arn in arns:
        acknowledge(
            part.role,
            rule=f"AwsSolutions-IAM5[Resource::{_as_written(part, arn)}]",
            reason="What is below the prefix is named after tenants and jobs, which nobody knows at "
            "synthesis; the prefix is as narrow as can be said.",
        )


def allow_table(
    part: LanewayFunction,
    sid: str,
    *,
    actions: Sequence[str],
    arns: Sequence[str],
    key: kms.IKey | None,
) -> None:
    """Allow the function these actions on a table or its indexes, and the use of the table's own key.

    DynamoDB uses such a key with its caller's permission.
    """
    allow(part, sid, actions=actions, resources=arns)
    if key is not None:
        key.grant(part.role, *_KEY_ACTIONS)


def objects_at(places: Sequence[str]) -> list[str]:
    """ARNs of all objects below places such as `s3://bucket/prefix/`."""
    return [f"arn:{Aws.PARTITION}:s3:::{place.removeprefix('s3://')}*" for place in places]


def _as_written(part: LanewayFunction, arn: str) -> str:
    """The ARN as the checks write it in a finding: references become their names in brackets."""
    resolved = Stack.of(part).resolve(arn)
    if isinstance(resolved, str):
        return resolved
    separator, members = resolved["Fn::Join"]
    words = [f"<{member['Ref']}>" if isinstance(member, dict) else member for member in members]
    return str(separator.join(words))
