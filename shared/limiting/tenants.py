"""Where tenants' limits are kept: a row for each tenant that has other ones than its stage gives.

Behind the `TenantStore` protocol are a store in memory and one on a DynamoDB table; both pass one
contract suite.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson

from shared.schema.tenants import TenantLimits, merged, write_limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

PARTITION_KEY: Final = "tenant"


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRow:
    """What one tenant's row says: members of `TenantLimits`, None for one that is lifted."""

    tenant: str
    limits: Mapping[str, float | None]


class TenantStore(Protocol):
    """Where the rows are."""

    def get(self, tenant: str) -> TenantRow | None:
        """The tenant's row; None: it has what its stage gives."""

    def put(self, row: TenantRow) -> None:
        """Keep a row in the place of the one that there was."""

    def remove(self, tenant: str) -> None:
        """Leave the tenant with what its stage gives."""

    def all(self) -> list[TenantRow]:
        """Every row, by tenant."""


def limits_of(store: TenantStore, tenant: str, *, defaults: TenantLimits) -> str:
    """What an authorizer hands down: the tenant's limits as text, "" where it has no row."""
    row = store.get(tenant)
    return "" if row is None else write_limits(merged(defaults, row.limits))


def table_definition(name: str) -> dict[str, Any]:
    """The arguments of `create_table`."""
    return {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": PARTITION_KEY, "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": PARTITION_KEY, "AttributeType": "S"}],
    }


class MemoryTenantStore:
    """Rows in a dict: for tests and for users' own tests."""

    def __init__(self) -> None:
        self._rows: dict[str, TenantRow] = {}

    def get(self, tenant: str) -> TenantRow | None:
        """The tenant's row."""
        return self._rows.get(tenant)

    def put(self, row: TenantRow) -> None:
        """Keep a row."""
        self._rows[row.tenant] = row

    def remove(self, tenant: str) -> None:
        """Forget a row."""
        self._rows.pop(tenant, None)

    def all(self) -> list[TenantRow]:
        """Every row, by tenant."""
        return sorted(self._rows.values(), key=lambda row: row.tenant)


class DynamoTenantStore:
    """Rows on a table with the partition key `tenant`; `get` is one GetItem."""

    def __init__(self, client: DynamoDBClient, *, table: str) -> None:
        self._client = client
        self._table = table

    def get(self, tenant: str) -> TenantRow | None:
        """The tenant's row."""
        answer = self._client.get_item(TableName=self._table, Key=_key(tenant))
        item = answer.get("Item")
        return None if item is None else _row(item)

    def put(self, row: TenantRow) -> None:
        """Keep a row."""
        limits = orjson.dumps(dict(row.limits)).decode()
        self._client.put_item(
            TableName=self._table, Item={**_key(row.tenant), "limits": {"S": limits}}
        )

    def remove(self, tenant: str) -> None:
        """Forget a row."""
        self._client.delete_item(TableName=self._table, Key=_key(tenant))

    def all(self) -> list[TenantRow]:
        """Every row, by tenant; a scan, which only people at a terminal ask for."""
        pages = self._client.get_paginator("scan").paginate(TableName=self._table)
        rows = [_row(item) for page in pages for item in page["Items"]]
        return sorted(rows, key=lambda row: row.tenant)


def _key(tenant: str) -> dict[str, Any]:
    return {PARTITION_KEY: {"S": tenant}}


def _row(item: Mapping[str, Any]) -> TenantRow:
    return TenantRow(
        tenant=item[PARTITION_KEY]["S"], limits=dict(orjson.loads(item["limits"]["S"]))
    )
