"""The batches table as DynamoDB is told of it, once: for the stacks, for tests and users' fixtures.

A batch's row and its chunks share a partition: `row`, then `chunk#00000` and on, in order. `counted` holds
the keys of batches that have not ended, by tenant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shared.results.table import index_definition

if TYPE_CHECKING:
    from collections.abc import Mapping

PARTITION_KEY: Final = "pk"
SORT_KEY: Final = "sk"
ROW: Final = "row"
CHUNK_PREFIX: Final = "chunk#"
TTL_ATTRIBUTE: Final = "purge_at"
"""Of the row and of each chunk, days after the batch must have ended."""
DUE: Final = "due"
LISTED: Final = "listed"
COUNTED: Final = "counted"
SHARD: Final = "0"
"""Batches are few: one partition of the index `due` holds them all."""
INDEX_KEYS: Final[Mapping[str, tuple[str, str]]] = {
    DUE: ("shard", "due_at"),
    LISTED: ("tenant", "listed_at"),
    COUNTED: ("counted_for", "listed_at"),
}
"""Partition key and sort key of each index; sparse by the sort key, which chunks do not have, and `counted` by
its partition key, which every ending removes."""


def chunk_sort_key(index: int) -> str:
    """The sort key of a chunk; text sorts as the index does, up to 99,999."""
    return f"{CHUNK_PREFIX}{index:05d}"


def table_definition(name: str) -> dict[str, Any]:
    """The arguments of `create_table`; time to live is switched on apart, on `TTL_ATTRIBUTE`."""
    texts = (PARTITION_KEY, SORT_KEY, "shard", "tenant", "listed_at", "counted_for")
    return {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [
            {"AttributeName": PARTITION_KEY, "KeyType": "HASH"},
            {"AttributeName": SORT_KEY, "KeyType": "RANGE"},
        ],
        "AttributeDefinitions": [
            *({"AttributeName": attribute, "AttributeType": "S"} for attribute in texts),
            {"AttributeName": "due_at", "AttributeType": "N"},
        ],
        "GlobalSecondaryIndexes": [
            index_definition(
                index, keys, {"ProjectionType": "KEYS_ONLY" if index == COUNTED else "ALL"}
            )
            for index, keys in INDEX_KEYS.items()
        ],
    }
