"""The calls that the batch store makes to DynamoDB, with their failures in our words."""

from __future__ import annotations

import time
from random import random
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from shared.aws import error_code, translated
from shared.errors import StoreUnavailableError
from shared.results.batches_table import INDEX_KEYS, SHARD, chunk_sort_key
from shared.results.counting import count_items
from shared.results.expressions import arguments
from shared.results.jobs_table import Written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from mypy_boto3_dynamodb import DynamoDBClient

Item = dict[str, Any]

CONFLICT_TRIES: Final = 10
CONFLICT_PAUSE_S: Final = 0.05
"""Of the first try; doubled with each, up to sixteen times, and scattered."""
_CONFLICTS: Final = frozenset({"TransactionConflictException", "TransactionInProgressException"})
_LAST: Final = 99_999
_PAGE: Final = 500


class BatchesTable:
    """One table, through a boto3 client of `shared.aws.make_client`."""

    def __init__(
        self,
        client: DynamoDBClient,
        *,
        name: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._name = name
        self._sleep = sleep

    def get(self, key: Item) -> Item | None:
        """Read an item consistently."""
        with _named():
            answer = self._client.get_item(TableName=self._name, Key=key, ConsistentRead=True)
        return answer.get("Item")

    def put_new(self, item: Item) -> Item | None:
        """Write a new item; gives the one that is there already."""
        written = self._conditional(
            lambda: self._client.put_item(
                **self.putting(item)["Put"], ReturnValuesOnConditionCheckFailure="ALL_OLD"
            )
        )
        return None if written.done else written.item

    def update(self, key: Item, update: str, condition: str, values: Mapping[str, Any]) -> Written:
        """Change an item; gives the new one, or the one that refused."""
        call = self.updating(key, update, condition, values)["Update"]
        return self._conditional(
            lambda: self._client.update_item(
                **call, ReturnValues="ALL_NEW", ReturnValuesOnConditionCheckFailure="ALL_OLD"
            )
        )

    def transact(self, writes: Sequence[Mapping[str, Any]]) -> bool:
        """All of these writes, or none of them.

        botocore gives the call a token, so its own repetition of a call that was done is no
        second one.
        """
        return self._conditional(
            lambda: self._client.transact_write_items(TransactItems=writes)  # type: ignore[arg-type]  # built by the two methods below
        ).done

    def updating(
        self, key: Item, update: str, condition: str, values: Mapping[str, Any]
    ) -> dict[str, Any]:
        """A conditional change, as a member of a transaction."""
        given = arguments(values, UpdateExpression=update, ConditionExpression=condition)
        return {"Update": {"TableName": self._name, "Key": key, **given}}

    def putting(self, item: Item) -> dict[str, Any]:
        """A new item, as a member of a transaction."""
        given = arguments({}, ConditionExpression="attribute_not_exists(#pk)")
        return {"Put": {"TableName": self._name, "Item": item, **given}}

    def chunks(self, partition: str, first: int) -> Iterator[Item]:
        """The chunks of a batch from `first` on, in order."""
        given = arguments(
            {
                ":pk": {"S": partition},
                ":first": {"S": chunk_sort_key(first)},
                ":last": {"S": chunk_sort_key(_LAST)},
            },
            KeyConditionExpression="#pk = :pk AND #sk BETWEEN :first AND :last",
        )
        start: dict[str, Any] = {}
        while True:
            with _named():
                answer = self._client.query(
                    TableName=self._name, ConsistentRead=True, Limit=_PAGE, **given, **start
                )
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def until(self, index: str, last: float, *, limit: int) -> list[Item]:
        """The first items of an index that is sorted by time."""
        hash_name, sort_name = INDEX_KEYS[index]
        given = arguments(
            {":shard": {"S": SHARD}, ":last": {"N": repr(last)}},
            KeyConditionExpression=f"#{hash_name} = :shard AND #{sort_name} <= :last",
        )
        with _named():
            answer = self._client.query(TableName=self._name, IndexName=index, Limit=limit, **given)
        return answer["Items"]

    def newest(
        self, index: str, partition: str, *, limit: int, start: Item | None
    ) -> tuple[list[Item], Item | None]:
        """The last items of one partition of an index, and where to go on."""
        given = arguments(
            {":partition": {"S": partition}},
            KeyConditionExpression=f"#{INDEX_KEYS[index][0]} = :partition",
        )
        after: dict[str, Any] = {} if start is None else {"ExclusiveStartKey": start}
        with _named():
            answer = self._client.query(
                TableName=self._name,
                IndexName=index,
                ScanIndexForward=False,
                Limit=limit,
                **given,
                **after,
            )
        return answer["Items"], answer.get("LastEvaluatedKey")

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

    def _conditional(self, write: Callable[[], Mapping[str, Any]]) -> Written:
        for attempt in range(CONFLICT_TRIES):
            with _named():
                try:
                    return Written(done=True, item=write().get("Attributes"))
                except ClientError as error:
                    if _is_refusal(error):
                        return Written(done=False, item=error.response.get("Item"))  # type: ignore[arg-type]  # not in the stubs
                    if not _is_conflict(error):
                        raise
            pause_s = CONFLICT_PAUSE_S * 2 ** min(attempt, 4)
            self._sleep(pause_s * (0.5 + random()))  # noqa: S311  spreads load, guards nothing
        raise StoreUnavailableError("the batch is being written by too many at once; try again")


def _reasons(error: ClientError) -> set[str]:
    reasons: Any = error.response.get("CancellationReasons", [])
    return {reason.get("Code", "None") for reason in reasons}


def _is_refusal(error: ClientError) -> bool:
    code = error_code(error)
    if code == "TransactionCanceledException":
        return "ConditionalCheckFailed" in _reasons(error)
    return code == "ConditionalCheckFailedException"


def _is_conflict(error: ClientError) -> bool:
    code = error_code(error)
    if code == "TransactionCanceledException":
        return "TransactionConflict" in _reasons(error)
    return code in _CONFLICTS


def _named() -> AbstractContextManager[None]:
    return translated(StoreUnavailableError, "the table of batches")
