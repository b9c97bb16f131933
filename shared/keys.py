"""API keys: how they look, how they are stored (as SHA-256, never as they are) and looked up.

A key is shown once, when it is made. A tenant has two active keys at most: the one that callers use and
the one that takes its place. Behind the `KeyStore` protocol are a store in memory and one on a DynamoDB
table (`shared.keys_dynamodb`); both pass one contract suite.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

from shared.errors import ConflictError, NotFoundError
from shared.principal import DEFAULT_SCOPES, DEFAULT_TENANT, TENANT, check_scopes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

API_KEY_HEADER: Final = "x-api-key"
ACTIVE_KEYS_MAX: Final = 2
"""Of one tenant: as many as a change of keys without a pause takes."""
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
    scopes: str = DEFAULT_SCOPES
    """What the key may do, with spaces between."""
    revoked_at: str | None = None


class KeysFullError(Exception):
    """The tenant has as many active keys as it may."""


class KeyStore(Protocol):
    """Where keys are kept."""

    def put(self, key: ApiKey, *, instead_of: ApiKey | None = None) -> None:
        """Keep a new key, and revoke `instead_of` in the same step, at the new key's time.

        Raises `ValueError` when its hash is there already, and `KeysFullError` when its tenant has
        `ACTIVE_KEYS_MAX` active keys besides `instead_of`.
        """

    def get(self, key_hash: str) -> ApiKey | None:
        """The key of this hash, revoked or not."""

    def all(self) -> list[ApiKey]:
        """Every key, oldest first."""

    def revoke(self, key: ApiKey, *, revoked_at: str) -> None:
        """Mark a key as revoked; the time of the first call stays."""


def create_key(
    store: KeyStore,
    *,
    tenant: str = DEFAULT_TENANT,
    name: str = "",
    scopes: Iterable[str] = (),
) -> tuple[str, ApiKey]:
    """Make a key and keep its hash; the key itself is returned here and nowhere else.

    `scopes`: none: all but `admin`. Raises `ValueError` for a scope that there is not and for a tenant that
    would not be one part of a key or prefix, and `ConflictError` for a tenant that has two active keys.
    """
    if not TENANT.fullmatch(tenant):
        raise ValueError(f"{tenant!r:.80} is no tenant: it is letters, digits, '.', '_' and '-'")
    secret, key = _new(tenant, name, check_scopes(scopes) or DEFAULT_SCOPES)
    try:
        store.put(key)
    except KeysFullError as error:
        raise ConflictError(_full(tenant, _active(store, tenant))) from error
    return secret, key


def rotate_key(store: KeyStore, key_id: str, *, now: bool = False) -> tuple[str, ApiKey, ApiKey]:
    """A new key with the tenant, name and scopes of this one; gives the key, the new and the old one.

    Both are active until the old one is revoked; with `now`, that happens in the same step. Raises
    `NotFoundError` for an id that no key has, `ConflictError` for a revoked one and for a tenant
    without a place for a third key.
    """
    old = _find(store, key_id)
    if old.revoked_at is not None:
        raise ConflictError(f"key {key_id} is revoked; make another with `laneway keys create`")
    secret, key = _new(old.tenant, old.name, old.scopes)
    try:
        store.put(key, instead_of=old if now else None)
    except KeysFullError as error:
        raise ConflictError(_full(old.tenant, _active(store, old.tenant))) from error
    return secret, key, old


def lookup_key(store: KeyStore, secret: str | None) -> ApiKey | None:
    """The valid key that `secret` is, or None; a malformed one costs no call to the store.

    What decides is compared in constant time. The store is asked for the hash, of which a caller can
    neither choose nor learn the beginning.
    """
    if secret is None or not _FORM.fullmatch(secret):
        return None
    key_hash = hash_key(secret)
    key = store.get(key_hash)
    if key is None or not hmac.compare_digest(key.key_hash, key_hash):
        return None
    return None if key.revoked_at is not None else key


def list_keys(store: KeyStore) -> list[ApiKey]:
    """Every key, revoked ones too, oldest first."""
    return store.all()


def revoke_key(store: KeyStore, key_id: str) -> ApiKey:
    """Revoke a key by its id; raises `NotFoundError` for an id that no key has."""
    key = _find(store, key_id)
    if key.revoked_at is not None:
        return key
    revoked_at = _now()
    store.revoke(key, revoked_at=revoked_at)
    return replace(key, revoked_at=revoked_at)


def hash_key(secret: str) -> str:
    """Hex SHA-256; the keys have 256 random bits, so a slow hash would add nothing but time."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _new(tenant: str, name: str, scopes: str) -> tuple[str, ApiKey]:
    secret = f"lw_{secrets.token_urlsafe(32)}"
    key = ApiKey(
        key_hash=hash_key(secret),
        key_id=secrets.token_hex(8),
        tenant=tenant,
        name=name,
        created_at=_now(),
        scopes=scopes,
    )
    return secret, key


def _find(store: KeyStore, key_id: str) -> ApiKey:
    key = next((key for key in store.all() if key.key_id == key_id), None)
    if key is None:
        raise NotFoundError(f"no key has the id {key_id!r}; `laneway keys list` shows the ids")
    return key


def _active(store: KeyStore, tenant: str) -> list[ApiKey]:
    return [key for key in store.all() if key.tenant == tenant and key.revoked_at is None]


def _full(tenant: str, active: Sequence[ApiKey]) -> str:
    ids = " and ".join(key.key_id for key in active)
    return (
        f"tenant {tenant!r} has {ACTIVE_KEYS_MAX} active keys ({ids}), and no tenant may have more; "
        "revoke one with `laneway keys revoke ID`, or put a new one in its place at once with "
        "`laneway keys rotate ID --now`"
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def by_age(key: ApiKey) -> tuple[str, str]:
    """Sorts keys, the oldest first."""
    return key.created_at, key.key_id


class MemoryKeyStore:
    """Keys in a dict: for tests and for users' own tests."""

    def __init__(self) -> None:
        self._keys: dict[str, ApiKey] = {}

    def put(self, key: ApiKey, *, instead_of: ApiKey | None = None) -> None:
        """Keep a new key."""
        if key.key_hash in self._keys:
            raise ValueError("a key of this hash exists")
        others = [item for item in _active(self, key.tenant) if item != instead_of]
        if len(others) >= ACTIVE_KEYS_MAX:
            raise KeysFullError(key.tenant)
        if instead_of is not None:
            self.revoke(instead_of, revoked_at=key.created_at)
        self._keys[key.key_hash] = key

    def get(self, key_hash: str) -> ApiKey | None:
        """The key of this hash."""
        return self._keys.get(key_hash)

    def all(self) -> list[ApiKey]:
        """Every key, oldest first."""
        return sorted(self._keys.values(), key=by_age)

    def revoke(self, key: ApiKey, *, revoked_at: str) -> None:
        """Mark a key as revoked."""
        kept = self._keys[key.key_hash]
        if kept.revoked_at is None:
            self._keys[key.key_hash] = replace(kept, revoked_at=revoked_at)
