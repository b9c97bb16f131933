"""The jobs table as DynamoDB is told of it, once: for the stacks, for tests and for users' fixtures.

Every index is sparse by its sort key: a row is in `unsent`, `due` or `hooks` while it has the
attribute that the index sorts by. A row has `hook` only where the job has a webhook, so that each
ending can set `hook_at` without knowing of it. `counted` is sparse by its partition key: it holds the
unfinished jobs of tenants that may have only so many, by which they are counted, and nothing but keys.

The other indexes hold everything but the inline bytes, which would be paid for with every change of
status, in every index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

PARTITION_KEY: Final = "pk"
TTL_ATTRIBUTE: Final = "purge_at"
"""Set when the job ends: DynamoDB never removes a job that has not ended."""
SHARDS: Final = 4
"""Partitions of an index that every row of the stage goes through: 1000 writes/s each."""

UNSENT: Final = "unsent"
DUE: Final = "due"
HOOKS: Final = "hooks"
LISTED: Final = "listed"
COUNTED: Final = "counted"
INDEX_KEYS: Final[Mapping[str, tuple[str, str]]] = {
    UNSENT: ("shard", "unsent_at"),
    DUE: ("shard", "due_at"),
    HOOKS: ("hook", "hook_at"),
    LISTED: ("tenant", "listed_at"),
    COUNTED: ("counted_for", "created_at"),
}
"""Partition key and sort key of each index."""
NUMBERS: Final = frozenset({"unsent_at", "due_at", "hook_at", "created_at"})
"""Key attributes that are numbers; the others are text."""

PROJECTED: Final = (
    "status",
    "submission",
    "model",
    "attempt",
    "max_attempts",
    "fence",
    "lease",
    "created_at",
    "ttl_at",
    "purge_at",
    "started_at",
    "finished_at",
    "input",
    "result",
    "failure",
    "run",
    "unsent_at",
    "due_at",
    "hook_at",
    "hook",
)
"""What an index holds beside its keys."""


def projected(index: str) -> list[str]:
    """The non-key attributes of an index; DynamoDB allows 20 in one and 100 in all."""
    return [name for name in PROJECTED if name not in INDEX_KEYS[index]]


def table_definition(name: str) -> dict[str, Any]:
    """The arguments of `create_table`; time to live is switched on apart, on `TTL_ATTRIBUTE`."""
    keys = {attribute for pair in INDEX_KEYS.values() for attribute in pair}
    return {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": PARTITION_KEY, "KeyType": "HASH"}],
        "AttributeDefinitions": [
            {"AttributeName": attribute, "AttributeType": "N" if attribute in NUMBERS else "S"}
            for attribute in sorted(keys | {PARTITION_KEY})
        ],
        "GlobalSecondaryIndexes": [_index(index) for index in INDEX_KEYS],
    }


def _index(name: str) -> dict[str, Any]:
    if name == COUNTED:
        return index_definition(name, INDEX_KEYS[name], {"ProjectionType": "KEYS_ONLY"})
    held = {"ProjectionType": "INCLUDE", "NonKeyAttributes": projected(name)}
    return index_definition(name, INDEX_KEYS[name], held)


def index_definition(name: str, keys: tuple[str, str], held: Mapping[str, Any]) -> dict[str, Any]:
    """An index as `create_table` is told of it. `keys`: partition and sort; `held`: its projection."""
    partition, sort = keys
    return {
        "IndexName": name,
        "KeySchema": [
            {"AttributeName": partition, "KeyType": "HASH"},
            {"AttributeName": sort, "KeyType": "RANGE"},
        ],
        "Projection": held,
    }
