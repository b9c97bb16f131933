"""API keys: how they look, how they are stored (as SHA-256, never as they are) and looked up.

A key is shown once, when it is made. Behind the `KeyStore` protocol are a store in memory and one on
a DynamoDB table; both pass one contract suite.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from shared.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

API_KEY_HEADER: Final = "x-api-key"
DEFAULT_TENANT: Final = "default"
_FORM: Final = re.compile(r"lw_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What is known of a key; times are ISO 8601 in UTC."""

    key_hash: str
    """Hex SHA-256 of the key."""
    key_id: str
    """Names the key in logs and commands; tells nothing about the key."""
    tenant: str
    name: str
    created_at: str
    revoked_at: str | None = None


class KeyStore(Protocol):
    """Where keys are kept."""

    def put(self, key: ApiKey) -> None:
        """Keep a new key; raises `ValueError` when its hash is there already."""

    def get(self, key_hash: str) -> ApiKey | None:
        """The key of this hash, revoked or not."""

    def all(self) -> list[ApiKey]:
        """Every key, oldest first."""

    def revoke(self, key_hash: str, *, revoked_at: str) -> None:
        """Mark a key as revoked; the time of the first call stays."""


def create_key(
    store: KeyStore, *, tenant: str = DEFAULT_TENANT, name: str = ""
) -> tuple[str, ApiKey]:
    """Make a key and keep its hash; the key itself is returned here and nowhere else."""
    secret = f"lw_{secrets.token_urlsafe(32)}"
    key = ApiKey(
        key_hash=hash_key(secret),
        key_id=secrets.token_hex(8),
        tenant=tenant,
        name=name,
        created_at=_now(),
    )
    store.put(key)
    return secret, key


def lookup_key(store: KeyStore, secret: str | None) -> ApiKey | None:
    """The valid key that `secret` is, or None; a malformed one costs no call to the store."""
    if secret is None or not _FORM.fullmatch(secret):
        return None
    key = store.get(hash_key(secret))
    return None if key is None or key.revoked_at is not None else key


def list_keys(store: KeyStore) -> list[ApiKey]:
    """Every key, revoked ones too, oldest first."""
    return store.all()


def revoke_key(store: KeyStore, key_id: str) -> ApiKey:
    """Revoke a key by its id; raises `NotFoundError` for an id that no key has."""
    key = next((key for key in store.all() if key.key_id == key_id), None)
    if key is None:
        raise NotFoundError(f"no key has the id {key_id!r}; `laneway keys list` shows the ids")
    if key.revoked_at is not None:
        return key
    revoked = replace(key, revoked_at=_now())
    store.revoke(key.key_hash, revoked_at=revoked.revoked_at or "")
    return revoked


def hash_key(secret: str) -> str:
    """Hex SHA-256; the keys have 256 random bits, so a slow hash would add nothing but time."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class MemoryKeyStore:
    """Keys in a dict: for tests and for users' own tests."""

    def __init__(self) -> None:
        self._keys: dict[str, ApiKey] = {}

    def put(self, key: ApiKey) -> None:
        """Keep a new key."""
        if key.key_hash in self._keys:
            raise ValueError("a key of this hash exists")
        self._keys[key.key_hash] = key

    def get(self, key_hash: str) -> ApiKey | None:
        """The key of this hash."""
        return self._keys.get(key_hash)

    def all(self) -> list[ApiKey]:
        """Every key, oldest first."""
        return sorted(self._keys.values(), key=_age)

    def revoke(self, key_hash: str, *, revoked_at: str) -> None:
        """Mark a key as revoked."""
        key = self._keys[key_hash]
        if key.revoked_at is None:
            self._keys[key_hash] = replace(key, revoked_at=revoked_at)


class DynamoKeyStore:
    """Keys on a table with the partition key `key_hash`; `get` is one GetItem."""

    def __init__(self, client: DynamoDBClient, *, table: str) -> None:
        self._client = client
        self._table = table

    def put(self, key: ApiKey) -> None:
        """Keep a new key."""
        try:
            self._client.put_item(
                TableName=self._table,
                Item=_to_item(key),
                ConditionExpression="attribute_not_exists(key_hash)",
            )
        except self._client.exceptions.ConditionalCheckFailedException as error:
            raise ValueError("a key of this hash exists") from error

    def get(self, key_hash: str) -> ApiKey | None:
        """The key of this hash, read consistently: a revoked key must not pass."""
        answer = self._client.get_item(
            TableName=self._table, Key={"key_hash": {"S": key_hash}}, ConsistentRead=True
        )
        item = answer.get("Item")
        return None if item is None else _from_item(item)

    def all(self) -> list[ApiKey]:
        """Every key, oldest first; a scan, which only people at a terminal ask for."""
        return sorted(self._scan(), key=_age)

    def revoke(self, key_hash: str, *, revoked_at: str) -> None:
        """Mark a key as revoked."""
        self._client.update_item(
            TableName=self._table,
            Key={"key_hash": {"S": key_hash}},
            UpdateExpression="SET revoked_at = if_not_exists(revoked_at, :at)",
            ConditionExpression="attribute_exists(key_hash)",
            ExpressionAttributeValues={":at": {"S": revoked_at}},
        )

    def _scan(self) -> Iterator[ApiKey]:
        for page in self._client.get_paginator("scan").paginate(TableName=self._table):
            yield from (_from_item(item) for item in page["Items"])


def _age(key: ApiKey) -> tuple[str, str]:
    return key.created_at, key.key_id


def _to_item(key: ApiKey) -> dict[str, Any]:
    members = {
        "key_hash": key.key_hash,
        "key_id": key.key_id,
        "tenant": key.tenant,
        "name": key.name,
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
    }
    return {name: {"S": value} for name, value in members.items() if value is not None}


def _from_item(item: Mapping[str, Any]) -> ApiKey:
    return ApiKey(**{name: value["S"] for name, value in item.items() if name in _MEMBERS})


_MEMBERS: Final = frozenset(ApiKey.__slots__)
