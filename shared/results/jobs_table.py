"""The five calls that the job store makes to DynamoDB, with their failures in our words.

A refused condition is an answer here, not an error: it comes with the item that refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError

from shared.aws import error_code, translated
from shared.errors import StoreUnavailableError
from shared.results.counting import count_items
from shared.results.expressions import arguments
from shared.results.table import INDEX_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from mypy_boto3_dynamodb import DynamoDBClient

Item = dict[str, Any]


class Written(NamedTuple):
    """What came of a conditional write."""

    done: bool
    item: Item | None
    """Of a write that was done, the new item where it was asked for; else the one that refused."""


class IndexPage(NamedTuple):
    """Items of an index, and the key to go on after, if the query stopped early."""

    items: list[Item]
    last_key: Item | None


class JobsTable:
    """One table, through a boto3 client of `shared.aws.make_client`."""

    def __init__(self, client: DynamoDBClient, *, name: str) -> None:
        self._client = client
        self._name = name

    def get(self, key: Item) -> Item | None:
        """Read an item consistently."""
        with _named():
            answer = self._client.get_item(TableName=self._name, Key=key, ConsistentRead=True)
        return answer.get("Item")

    def put(self, item: Item, *, condition: str, values: Mapping[str, Any]) -> Written:
        """Write an item whole."""
        return _conditional(
            lambda: self._client.put_item(
                TableName=self._name,
                Item=item,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **arguments(values, ConditionExpression=condition),
            )
        )

    def update(
        self,
        key: Item,
        *,
        update: str,
        condition: str,
        values: Mapping[str, Any],
        wants_item: bool = False,
    ) -> Written:
        """Change an item; the new one comes back with `wants_item`."""
        return _conditional(
            lambda: self._client.update_item(
                TableName=self._name,
                Key=key,
                ReturnValues="ALL_NEW" if wants_item else "NONE",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **arguments(values, UpdateExpression=update, ConditionExpression=condition),
            )
        )

    def until(self, index: str, partition: str, last: float, *, limit: int) -> list[Item]:
        """The first `limit` items of one partition of an index that is sorted by time."""
        hash_name, sort_name = INDEX_KEYS[index]
        given = arguments(
            {":partition": {"S": partition}, ":last": {"N": repr(float(last))}},
            KeyConditionExpression=f"#{hash_name} = :partition AND #{sort_name} <= :last",
        )
        with _named():
            answer = self._client.query(TableName=self._name, IndexName=index, Limit=limit, **given)
        return answer["Items"]

    def count(self, index: str, partition: str, *, up_to: int) -> int:
        """How many items a partition of an index has; at `up_to` the counting ends."""
        with _named():
            return count_items(
                self._client,
                table=self._name,
                index=index,
                key=INDEX_KEYS[index][0],
                partition=partition,
                up_to=up_to,
            )

    def newest(
        self,
        index: str,
        partition: str,
        *,
        keep: str,
        values: Mapping[str, Any],
        limit: int,
        after: Item | None,
    ) -> IndexPage:
        """The last items of one partition of an index, of which `keep` holds."""
        given = arguments(
            {**values, ":partition": {"S": partition}},
            KeyConditionExpression=f"#{INDEX_KEYS[index][0]} = :partition",
            FilterExpression=keep,
        )
        start: dict[str, Any] = {} if after is None else {"ExclusiveStartKey": after}
        with _named():
            answer = self._client.query(
                TableName=self._name,
                IndexName=index,
                ScanIndexForward=False,
                Limit=limit,
                **given,
                **start,
            )
        return IndexPage(answer["Items"], answer.get("LastEvaluatedKey"))


def _conditional(write: Callable[[], Mapping[str, Any]]) -> Written:
    with _named():
        try:
            return Written(done=True, item=write().get("Attributes"))
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            return Written(done=False, item=error.response.get("Item"))  # type: ignore[arg-type]  # not in the stubs


def _named() -> AbstractContextManager[None]:
    return translated(StoreUnavailableError, "the table of jobs")
