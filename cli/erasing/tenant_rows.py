"""The rows of one tenant in one table: listed, replaced by a stub, deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from cli.erasing.tally import in_parts
from shared.aws import error_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    Item = dict[str, Any]

LISTED: Final = "listed"
"""The index by tenant, which both tables have."""
_DELETED_AT_ONCE: Final = 25
_INDEXED: Final = frozenset({"tenant", "listed_at", "shard"})


class TenantRows:
    """`index_keys`: of the table, by index."""

    def __init__(
        self, dynamodb: Any, table: str, tenant: str, index_keys: Mapping[str, tuple[str, str]]
    ) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._tenant = tenant
        self._tenant_key = index_keys[LISTED][0]

    def listed(self) -> Iterator[Item]:
        """The tenant's rows by the index, which may lag: a pass that changes nothing ends it."""
        return self._pages(
            IndexName=LISTED,
            KeyConditionExpression="#tenant = :tenant",
            ExpressionAttributeNames={"#tenant": self._tenant_key},
            ExpressionAttributeValues={":tenant": {"S": self._tenant}},
        )

    def partition(self, partition: str) -> Iterator[Item]:
        """All that has this partition key."""
        return self._pages(
            ConsistentRead=True,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": partition}},
        )

    def put_stub(self, item: Item, *, status: str, fence: int) -> bool:
        """Put it over the row as it was seen; without what the index lists, no later pass meets it."""
        return _written(
            lambda: self._dynamodb.put_item(
                TableName=self._table,
                Item={name: value for name, value in item.items() if name not in _INDEXED},
                ConditionExpression="attribute_exists(listed_at) AND #status = :seen AND fence = :fence",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues={":seen": {"S": status}, ":fence": {"N": str(fence)}},
            )
        )

    def cancel(self, key: Item, *, status: str, fence: int, now: Item) -> bool:
        """End the row as it was seen, where it stands; `now` as an attribute."""
        return _written(
            lambda: self._dynamodb.update_item(
                TableName=self._table,
                Key=key,
                UpdateExpression="SET #status = :canceled, finished_at = :now"
                " REMOVE due_at, lease_owner",
                ConditionExpression="#status = :seen AND fence = :fence",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues={
                    ":canceled": {"S": "canceled"},
                    ":now": now,
                    ":seen": {"S": status},
                    ":fence": {"N": str(fence)},
                },
            )
        )

    def delete(self, key: Item) -> bool:
        """Whether there was such a row."""
        answer = self._dynamodb.delete_item(TableName=self._table, Key=key, ReturnValues="ALL_OLD")
        return "Attributes" in answer

    def delete_all(self, keys: Iterable[Item]) -> Iterator[int]:
        """Delete rows, some at a time; gives how many after each call."""
        for part in in_parts(keys, _DELETED_AT_ONCE):
            asked = [{"DeleteRequest": {"Key": key}} for key in part]
            while asked:
                answer = self._dynamodb.batch_write_item(RequestItems={self._table: asked})
                asked = answer.get("UnprocessedItems", {}).get(self._table, [])
            yield len(part)

    def _pages(self, **asked: Any) -> Iterator[Item]:
        pages = self._dynamodb.get_paginator("query").paginate(TableName=self._table, **asked)
        for page in pages:
            yield from page["Items"]


def _written(write: Callable[[], object]) -> bool:
    """Whether the row was still as it was seen."""
    try:
        write()
    except ClientError as error:
        if error_code(error) != "ConditionalCheckFailedException":
            raise
        return False
    return True
