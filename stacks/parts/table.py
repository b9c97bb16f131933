"""A DynamoDB table as Laneway deploys it, made of the same definition that tests make theirs of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from constructs import Construct

    from stacks.stages import Stage

_TYPES: Final = {
    "S": dynamodb.AttributeType.STRING,
    "N": dynamodb.AttributeType.NUMBER,
    "B": dynamodb.AttributeType.BINARY,
}


def make_table(
    scope: Construct,
    construct_id: str,
    *,
    stage: Stage,
    definition: Mapping[str, Any],
    ttl_attribute: str | None = None,
) -> dynamodb.Table:
    """The table of these arguments of `create_table`: on demand, encrypted, restorable to any second."""
    types = {
        item["AttributeName"]: _TYPES[item["AttributeType"]]
        for item in definition["AttributeDefinitions"]
    }
    table = dynamodb.Table(
        scope,
        construct_id,
        table_name=definition["TableName"],
        billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
        point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
            point_in_time_recovery_enabled=True
        ),
        encryption=dynamodb.TableEncryption.AWS_MANAGED,
        time_to_live_attribute=ttl_attribute,
        deletion_protection=stage.keep_data,
        removal_policy=RemovalPolicy.RETAIN if stage.keep_data else RemovalPolicy.DESTROY,
        **_keys(definition["KeySchema"], types),
    )
    for index in definition.get("GlobalSecondaryIndexes", ()):
        table.add_global_secondary_index(
            index_name=index["IndexName"],
            projection_type=dynamodb.ProjectionType[index["Projection"]["ProjectionType"]],
            non_key_attributes=index["Projection"].get("NonKeyAttributes"),
            **_keys(index["KeySchema"], types),
        )
    return table


def _keys(
    schema: list[Mapping[str, str]], types: Mapping[str, dynamodb.AttributeType]
) -> dict[str, Any]:
    names = {"HASH": "partition_key", "RANGE": "sort_key"}
    return {
        names[item["KeyType"]]: dynamodb.Attribute(
            name=item["AttributeName"], type=types[item["AttributeName"]]
        )
        for item in schema
    }
