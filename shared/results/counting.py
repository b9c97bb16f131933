"""How many items one partition of an index has, without reading more of them than somebody wants to know of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.results.expressions import arguments

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def count_items(
    client: DynamoDBClient, *, table: str, index: str, key: str, partition: str, up_to: int
) -> int:
    """The number of items, `up_to` where there are more; `key`: the index's partition key."""
    given = arguments(
        {":partition": {"S": partition}}, KeyConditionExpression=f"#{key} = :partition"
    )
    found, start = 0, None
    while found < up_to:
        after: dict[str, Any] = {} if start is None else {"ExclusiveStartKey": start}
        page = client.query(
            TableName=table,
            IndexName=index,
            Select="COUNT",
            Limit=up_to - found,
            **given,
            **after,
        )
        found, start = found + page["Count"], page.get("LastEvaluatedKey")
        if start is None:
            break
    return found
