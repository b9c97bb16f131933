"""The table of counters as DynamoDB is told of it, once: for the stacks, for tests and for users' fixtures."""

from __future__ import annotations

from typing import Any, Final

PARTITION_KEY: Final = "pk"
TTL_ATTRIBUTE: Final = "purge_at"


def table_definition(name: str) -> dict[str, Any]:
    """The arguments of `create_table`; time to live is switched on apart, on `TTL_ATTRIBUTE`."""
    return {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": PARTITION_KEY, "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": PARTITION_KEY, "AttributeType": "S"}],
    }
