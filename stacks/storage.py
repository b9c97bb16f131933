"""The storage stack: what outlives a deploy. Today the table of API keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms

from stacks import names

if TYPE_CHECKING:
    from constructs import Construct

    from stacks.stages import Stage


class StorageStack(Stack):
    """Holds the keys table: SHA-256 of each key, never a key."""

    def __init__(self, scope: Construct, *, stage: Stage) -> None:
        super().__init__(
            scope,
            names.stack(stage.name, "storage"),
            description=f"Laneway {stage.name}: what outlives a deploy",
        )
        removal = RemovalPolicy.RETAIN if stage.keep_data else RemovalPolicy.DESTROY
        key = _key(self, removal) if stage.customer_key else None
        self.keys_table = dynamodb.Table(
            self,
            "Keys",
            table_name=names.keys_table(stage.name),
            partition_key=dynamodb.Attribute(name="key_hash", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            encryption=(
                dynamodb.TableEncryption.CUSTOMER_MANAGED
                if key
                else dynamodb.TableEncryption.AWS_MANAGED
            ),
            encryption_key=key,
            deletion_protection=stage.keep_data,
            removal_policy=removal,
        )


def _key(scope: Construct, removal: RemovalPolicy) -> kms.Key:
    return kms.Key(
        scope,
        "KeysTableKey",
        description="Encrypts the table of API keys",
        enable_key_rotation=True,
        removal_policy=removal,
    )
