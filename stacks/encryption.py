"""Encrypts what a stage keeps with the stage's own key: every resource that holds data, and who may use the key.

Goes over the whole app when it is composed, so that nothing made later is forgotten. A role may use the key
through the services in which it may read or write data, and not by itself: who may read a table may have the
table decrypt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aws_cdk import Aws, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aws_cdk import aws_kms as kms
    from constructs import IConstruct

QUEUE_REUSES_KEY_S: Final = 3600
"""SQS asks KMS for a data key so seldom; a day at most, five minutes unless said."""

_READ: Final = ("kms:Decrypt",)
_WRITE: Final = ("kms:Decrypt", "kms:GenerateDataKey")
_TABLE: Final = (
    *("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"),
    *("kms:ReEncryptFrom", "kms:ReEncryptTo"),
)
NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "dynamodb:BatchWriteItem": _TABLE,
    "dynamodb:DeleteItem": _TABLE,
    "dynamodb:GetItem": _TABLE,
    "dynamodb:PutItem": _TABLE,
    "dynamodb:Query": _TABLE,
    "dynamodb:UpdateItem": _TABLE,
    "s3:GetObject": _READ,
    "s3:PutObject": _WRITE,
    "sqs:ReceiveMessage": _READ,
    "sqs:SendMessage": _WRITE,
    "ssm:GetParameter": _READ,
}
"""What a service does with a key in its caller's name. DynamoDB: developer guide, encryption at rest; S3 and
SQS: user guides, server-side encryption with KMS; read 2026-11-22."""


def encrypt(root: IConstruct, key: kms.IKey) -> None:
    """Encrypt everything below `root` with the key, before it is synthesized."""
    for construct in root.node.find_all():
        _encrypt(construct, key.key_arn)
        if isinstance(construct, iam.Policy):
            _let_use(construct, key)


def _encrypt(construct: IConstruct, key_arn: str) -> None:
    if isinstance(construct, dynamodb.CfnTable):
        construct.sse_specification = dynamodb.CfnTable.SSESpecificationProperty(
            sse_enabled=True, sse_type="KMS", kms_master_key_id=key_arn
        )
    elif isinstance(construct, s3.CfnBucket) and not construct.object_lock_enabled:
        # A locked bucket outlasts its stage and the stage's key: who could disable that key, or schedule
        # its end, could else take away what the lock is there to keep.
        construct.bucket_encryption = _bucket_encryption(key_arn)
    elif isinstance(construct, sqs.CfnQueue):
        construct.sqs_managed_sse_enabled = None
        construct.kms_master_key_id = key_arn
        construct.kms_data_key_reuse_period_seconds = QUEUE_REUSES_KEY_S
    elif isinstance(construct, logs.CfnLogGroup):
        construct.kms_key_id = key_arn
    elif isinstance(construct, sns.CfnTopic):
        construct.kms_master_key_id = key_arn


def _bucket_encryption(key_arn: str) -> s3.CfnBucket.BucketEncryptionProperty:
    """With a key of the bucket's own below the stage's, or each object would be a call to KMS."""
    return s3.CfnBucket.BucketEncryptionProperty(
        server_side_encryption_configuration=[
            s3.CfnBucket.ServerSideEncryptionRuleProperty(
                bucket_key_enabled=True,
                server_side_encryption_by_default=s3.CfnBucket.ServerSideEncryptionByDefaultProperty(
                    sse_algorithm="aws:kms", kms_master_key_id=key_arn
                ),
            )
        ]
    )


def _let_use(policy: iam.Policy, key: kms.IKey) -> None:
    used = [action for action in _allowed(policy) if action in NEEDS]
    if not used:
        return
    services = sorted({action.partition(":")[0] for action in used})
    policy.add_statements(
        iam.PolicyStatement(
            sid="UseStagesKey",
            actions=sorted({need for action in used for need in NEEDS[action]}),
            resources=[key.key_arn],
            conditions={
                "StringEquals": {
                    "kms:ViaService": [f"{name}.{Aws.REGION}.amazonaws.com" for name in services]
                }
            },
        )
    )


def _allowed(policy: iam.Policy) -> Iterator[str]:
    document: Any = Stack.of(policy).resolve(policy.document)
    for statement in document["Statement"]:
        actions = statement["Action"]
        yield from [actions] if isinstance(actions, str) else actions
