"""The key stack: the stage's own key in KMS, there before anything that it encrypts.

Its policy lets services use it for the stage's resources alone. Who reads and writes data is let in by the
policies of roles, which `stacks.encryption` completes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import ArnFormat, Aws, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms

from stacks import names

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from constructs import Construct

    from stacks.stages import Stage


class KeyStack(Stack):
    """Only where the stage has `customer_key`."""

    def __init__(self, scope: Construct, *, stage: Stage) -> None:
        super().__init__(
            scope,
            names.stack(stage.name, "key"),
            description=f"Laneway {stage.name}: the key that encrypts everything at rest",
        )
        self.key = kms.Key(
            self,
            "Key",
            alias=names.key_alias(stage.name),
            description=f"Encrypts the data of Laneway's stage {stage.name}",
            enable_key_rotation=True,
            removal_policy=RemovalPolicy.RETAIN if stage.keep_data else RemovalPolicy.DESTROY,
        )
        _let_logs(self, stage)
        _let_uploads_tell(self, stage)
        _let_alarms_notify(self)


def _let_logs(stack: KeyStack, stage: Stage) -> None:
    """Each log group of the stage, told by the context that the service encrypts with."""
    groups = [
        stack.format_arn(
            service="logs",
            resource="log-group",
            resource_name=below,
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        for below in (f"/aws/lambda/laneway-{stage.name}-*", f"/laneway/{stage.name}/*")
    ]
    _let(
        stack,
        "Logs",
        f"logs.{Aws.REGION}.amazonaws.com",
        {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": groups}},
        "kms:Encrypt",
        "kms:ReEncryptFrom",
        "kms:ReEncryptTo",
        "kms:DescribeKey",
    )


def _let_uploads_tell(stack: KeyStack, stage: Stage) -> None:
    """The bucket tells a queue of uploads; it writes into the queue, so it uses the queue's key."""
    bucket = names.bucket(stage.name, account=Aws.ACCOUNT_ID, region=Aws.REGION)
    _let(
        stack,
        "Uploads",
        "s3.amazonaws.com",
        {
            "StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID},
            "ArnEquals": {"aws:SourceArn": f"arn:{Aws.PARTITION}:s3:::{bucket}"},
        },
    )


def _let_alarms_notify(stack: KeyStack) -> None:
    for service in names.NOTIFIERS:
        _let(
            stack,
            service.partition(".")[0].title(),
            service,
            {"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
        )


def _let(
    stack: KeyStack, sid: str, service: str, conditions: Mapping[str, Any], *more: str
) -> None:
    """Let a service encrypt and decrypt; `*` is this key, the only one that a key's policy is about."""
    stack.key.add_to_resource_policy(
        iam.PolicyStatement(
            sid=sid,
            principals=[iam.ServicePrincipal(service)],
            actions=["kms:Decrypt", "kms:GenerateDataKey", *more],
            resources=["*"],
            conditions=dict(conditions),
        )
    )
