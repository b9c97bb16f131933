"""The counters on a DynamoDB table: each step is one conditional write that needs no read before it.

A bucket is the time at which it will be full: taking tokens moves that time on, and waiting does the
rest. A write that is refused says what it has met, so the next try asks for what there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from botocore.exceptions import ClientError

from shared.aws import error_code, translated
from shared.errors import StoreUnavailableError
from shared.limiting.counters import DAY_S, ROUNDING, Taken, day_ends_at
from shared.limiting.usage_table import PARTITION_KEY, TTL_ATTRIBUTE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

    from shared.limiting.counters import Bucket

CONTENDED_S: Final = 0.25
"""When to ask again after others were quicker at every try."""
_TRIES: Final = 4
_NEVER_USED: Final = -1.0


class _Step(NamedTuple):
    """A conditional write of one item."""

    update: str
    condition: str
    values: Mapping[str, float]


class DynamoCounters:
    """Implements `Counters` on the table of `shared.limiting.usage_table`."""

    def __init__(self, client: DynamoDBClient, *, table: str) -> None:
        self._client = client
        self._table = table

    def take_tokens(self, tenant: str, bucket: Bucket, amount: int, *, now: float) -> Taken:
        """Up to `amount` tokens: one write in a bucket that is in use, two in one that is full."""
        name, asked, full_at = f"requests#{tenant}", min(amount, bucket.burst), now
        for _ in range(_TRIES):
            step = _from_full if full_at < now else _from_partial
            done, found = self._write(name, step(bucket, asked, now), "full_at")
            full_at = _NEVER_USED if found is None else found
            if done:
                return Taken(asked, bucket.tokens(full_at, now), bucket.next_at(full_at))
            asked = min(amount, bucket.tokens(full_at, now))
            if asked == 0:
                return Taken(0, 0, bucket.next_at(full_at))
        return Taken(0, asked, now + CONTENDED_S)

    def take_bytes(
        self, tenant: str, per_day: int, amount: int, *, now: float, least: int = 0
    ) -> Taken:
        """Up to `amount` bytes of the day: one write, and another where fewer are left."""
        ends_at = day_ends_at(now)
        name, asked, used = f"bytes#{tenant}#{int(ends_at)}", min(amount, per_day), 0.0
        if asked < least:
            asked = 0  # a day never has so many: only what is left of it is asked
        for _ in range(_TRIES):
            values = {"asked": asked, "room": per_day - asked, "purge_at": int(ends_at + 2 * DAY_S)}
            step = _Step(
                "SET #purge_at = :purge_at ADD #used :asked",
                "attribute_not_exists(#used) OR #used <= :room",
                values,
            )
            done, found = self._write(name, step, "used")
            used = found or 0.0
            if done:
                return Taken(asked, max(0, per_day - int(used)), ends_at)
            left = max(0, per_day - int(used))
            asked = min(amount, left)
            if asked < max(least, 1):
                return Taken(0, left, ends_at)
        return Taken(0, max(0, per_day - int(used)), now + CONTENDED_S)

    def _write(self, name: str, step: _Step, attribute: str) -> tuple[bool, float | None]:
        """Whether it was written, and the attribute: as written, or as it stands."""
        with translated(StoreUnavailableError, "the counters of limits"):
            try:
                answer: Any = self._client.update_item(
                    TableName=self._table,
                    Key={PARTITION_KEY: {"S": name}},
                    UpdateExpression=step.update,
                    ConditionExpression=step.condition,
                    ExpressionAttributeNames={
                        f"#{attribute}": attribute,
                        "#purge_at": TTL_ATTRIBUTE,
                    },
                    ExpressionAttributeValues={
                        f":{key}": {"N": repr(value)} for key, value in step.values.items()
                    },
                    ReturnValues="ALL_NEW",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
                return True, float(answer["Attributes"][attribute]["N"])
            except ClientError as error:
                if error_code(error) != "ConditionalCheckFailedException":
                    raise
                item: Any = error.response.get("Item") or {}
                found = item.get(attribute)
                return False, None if found is None else float(found["N"])


def _from_partial(bucket: Bucket, amount: int, now: float) -> _Step:
    """For a bucket that tokens are missing from."""
    step_s = amount / bucket.rate_per_s
    latest = max(now, now + bucket.fill_s - step_s) + ROUNDING / bucket.rate_per_s
    return _Step(
        "SET #full_at = #full_at + :step, #purge_at = :purge_at",
        "#full_at BETWEEN :now AND :latest",
        {"step": step_s, "now": now, "latest": latest, "purge_at": _purge_at(now)},
    )


def _from_full(bucket: Bucket, amount: int, now: float) -> _Step:
    """For a bucket that is full, or was never used."""
    return _Step(
        "SET #full_at = :full_at, #purge_at = :purge_at",
        "attribute_not_exists(#full_at) OR #full_at < :now",
        {"full_at": now + amount / bucket.rate_per_s, "now": now, "purge_at": _purge_at(now)},
    )


def _purge_at(now: float) -> int:
    return int(now) + 30 * DAY_S
