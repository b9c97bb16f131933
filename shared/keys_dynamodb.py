"""API keys on a DynamoDB table with the partition key `key_hash`.

An item `keys-of#<tenant>` beside a tenant's keys holds the ids of its active ones. Each change of a key is
one transaction with it, so that two changes at once cannot both take the last place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shared.errors import ConflictError
from shared.keys import ACTIVE_KEYS_MAX, ApiKey, KeysFullError, by_age

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

_MEMBERS: Final = tuple(ApiKey.__slots__)
_OF_TENANT: Final = "keys-of#"
"""No hash begins so: hashes are hexadecimal."""
_TRIES: Final = 3
_CHECK_FAILED: Final = "ConditionalCheckFailed"
_CAME_SECOND: Final = (_CHECK_FAILED, "TransactionConflict")


class DynamoKeyStore:
    """Implements `KeyStore`; `get` is one GetItem."""

    def __init__(self, client: DynamoDBClient, *, table: str) -> None:
        self._client = client
        self._table = table

    def put(self, key: ApiKey, *, instead_of: ApiKey | None = None) -> None:
        """Keep a new key."""
        made = {
            "TableName": self._table,
            "Item": _to_item(key),
            "ConditionExpression": "attribute_not_exists(key_hash)",
        }
        changes: list[Any] = [{"Put": made}]
        leaving = set()
        if instead_of is not None:
            leaving.add(instead_of.key_id)
            changes.append({"Update": self._revocation(instead_of, key.created_at)})
        self._change(key.tenant, changes, leaving=leaving, coming={key.key_id})

    def get(self, key_hash: str) -> ApiKey | None:
        """The key of this hash, read consistently: a revoked key must not pass."""
        answer = self._client.get_item(
            TableName=self._table, Key={"key_hash": {"S": key_hash}}, ConsistentRead=True
        )
        item = answer.get("Item")
        return None if item is None else _from_item(item)

    def all(self) -> list[ApiKey]:
        """Every key, oldest first; a scan, which only people at a terminal ask for."""
        return sorted(self._scan(), key=by_age)

    def revoke(self, key: ApiKey, *, revoked_at: str) -> None:
        """Mark a key as revoked."""
        changes = [{"Update": self._revocation(key, revoked_at)}]
        self._change(key.tenant, changes, leaving={key.key_id}, coming=set())

    def _scan(self) -> Iterator[ApiKey]:
        for page in self._client.get_paginator("scan").paginate(TableName=self._table):
            for item in page["Items"]:
                if not item["key_hash"]["S"].startswith(_OF_TENANT):
                    yield _from_item(item)

    def _revocation(self, key: ApiKey, revoked_at: str) -> dict[str, Any]:
        return {
            "TableName": self._table,
            "Key": {"key_hash": {"S": key.key_hash}},
            "UpdateExpression": "SET revoked_at = if_not_exists(revoked_at, :at)",
            "ConditionExpression": "attribute_exists(key_hash)",
            "ExpressionAttributeValues": {":at": {"S": revoked_at}},
        }

    def _change(
        self, tenant: str, changes: Sequence[Any], *, leaving: set[str], coming: set[str]
    ) -> None:
        for _ in range(_TRIES):
            before = self._active_ids(tenant)
            after = (set(before.split()) - leaving) | coming
            if coming and len(after) > ACTIVE_KEYS_MAX:
                raise KeysFullError(tenant)
            if self._commit([*changes, *self._counted(tenant, before, " ".join(sorted(after)))]):
                return
        raise ConflictError(f"the keys of tenant {tenant!r} are being changed by others; try again")

    def _active_ids(self, tenant: str) -> str:
        item = self._client.get_item(
            TableName=self._table, Key=_tenant_key(tenant), ConsistentRead=True
        ).get("Item", {})
        return item["active_keys"]["S"] if "active_keys" in item else ""

    def _counted(self, tenant: str, before: str, after: str) -> list[Any]:
        if before == after:
            return []
        values = {":before": before, ":after": after}
        update = {
            "TableName": self._table,
            "Key": _tenant_key(tenant),
            "UpdateExpression": "SET active_keys = :after" if after else "REMOVE active_keys",
            "ConditionExpression": (
                "active_keys = :before" if before else "attribute_not_exists(active_keys)"
            ),
            "ExpressionAttributeValues": {
                name: {"S": value} for name, value in values.items() if value
            },
        }
        return [{"Update": update}]

    def _commit(self, changes: Sequence[Any]) -> bool:
        """False where another change of the tenant's keys came first; `ValueError` for a known hash."""
        try:
            self._client.transact_write_items(TransactItems=changes)
        except self._client.exceptions.TransactionCanceledException as error:
            reasons = [reason.get("Code") for reason in error.response["CancellationReasons"]]
            if reasons[0] == _CHECK_FAILED:
                raise ValueError("a key of this hash exists") from error
            if reasons[-1] in _CAME_SECOND:
                return False
            raise
        return True


def _tenant_key(tenant: str) -> dict[str, Any]:
    return {"key_hash": {"S": f"{_OF_TENANT}{tenant}"}}


def _to_item(key: ApiKey) -> dict[str, Any]:
    members = {name: getattr(key, name) for name in _MEMBERS}
    return {name: {"S": value} for name, value in members.items() if value is not None}


def _from_item(item: Mapping[str, Any]) -> ApiKey:
    return ApiKey(**{name: value["S"] for name, value in item.items() if name in _MEMBERS})
