"""The signing secrets of a tenant's webhooks: the newest, and the one before it while both are valid.

Kept as one SecureString for each tenant in SSM Parameter Store, which costs nothing at rest; behind
the protocol is a store in memory too, and both pass one contract suite. A value never appears in a
`repr`, a message or a log line.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from shared.aws import translated
from shared.errors import ConflictError, NotFoundError, StoreUnavailableError
from shared.jobs.signing import make_secret

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.jobs.clock import Clock

ACTIVE_MAX: Final = 2
CACHE_S: Final = 60.0
"""A rotated secret is signed with after so long; the one before it is valid all the while."""
_UNCHANGED: Final = re.compile(r"[A-Za-z0-9_-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningSecret:
    """One secret; `created_at` is ISO 8601 in UTC."""

    value: str = field(repr=False)
    created_at: str


Secrets = tuple[SigningSecret, ...]
"""The active secrets of a tenant, newest first."""


class SecretReader(Protocol):
    """Where the sender finds secrets."""

    def get(self, tenant: str) -> Secrets:
        """The active secrets of a tenant, newest first; empty where there are none."""


class SecretStore(SecretReader, Protocol):
    """Where secrets are kept. Raises `StoreUnavailableError` when it cannot be reached."""

    def put(self, tenant: str, active: Secrets, *, new: bool) -> bool:
        """Keep a tenant's secrets; False where `new` and the tenant has some already."""

    def remove(self, tenant: str) -> bool:
        """Forget a tenant's secrets; False where it has none."""


def create_secret(store: SecretStore, tenant: str) -> SigningSecret:
    """Make a tenant's first secret; raises `ConflictError` where it has one."""
    secret = _make()
    if not store.put(tenant, (secret,), new=True):
        raise ConflictError(
            f"tenant {tenant} has a signing secret already; "
            "`laneway webhooks secret rotate` makes a new one"
        )
    return secret


def rotate_secret(store: SecretStore, tenant: str) -> SigningSecret:
    """Make a new secret; events carry its signature and that of the one before it."""
    active = _existing(store, tenant)
    secret = _make()
    store.put(tenant, (secret, *active[: ACTIVE_MAX - 1]), new=False)
    return secret


def retire_secret(store: SecretStore, tenant: str) -> Secrets:
    """Sign with the newest secret alone; gives the secrets that are left."""
    newest = _existing(store, tenant)[:1]
    store.put(tenant, newest, new=False)
    return newest


def _existing(store: SecretStore, tenant: str) -> Secrets:
    active = store.get(tenant)
    if not active:
        raise NotFoundError(
            f"tenant {tenant} has no signing secret; `laneway webhooks secret create` makes one"
        )
    return active


def _make() -> SigningSecret:
    created_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    return SigningSecret(value=make_secret(), created_at=created_at)


class MemorySecretStore:
    """Secrets in a dict: for tests and for users' own tests."""

    def __init__(self) -> None:
        self._active: dict[str, Secrets] = {}

    def get(self, tenant: str) -> Secrets:
        """The active secrets of a tenant."""
        return self._active.get(tenant, ())

    def put(self, tenant: str, active: Secrets, *, new: bool) -> bool:
        """Keep a tenant's secrets."""
        if new and tenant in self._active:
            return False
        self._active[tenant] = active
        return True

    def remove(self, tenant: str) -> bool:
        """Forget a tenant's secrets."""
        return self._active.pop(tenant, None) is not None


class SsmSecretStore:
    """Secrets as SecureString parameters `/laneway/<stage>/webhooks/<tenant>`, one call a method.

    `key`: id or alias of the stage's own key, which new values are encrypted with; empty: AWS's own.
    """

    def __init__(self, client: Any, *, stage: str, key: str = "") -> None:
        self._client = client
        self._stage = stage
        self._key = {"KeyId": key} if key else {}

    def get(self, tenant: str) -> Secrets:
        """The active secrets of a tenant."""
        with translated(StoreUnavailableError, "the store of signing secrets"):
            try:
                answer = self._client.get_parameter(
                    Name=parameter_name(self._stage, tenant), WithDecryption=True
                )
            except self._client.exceptions.ParameterNotFound:
                return ()
        return _read(answer["Parameter"]["Value"])

    def put(self, tenant: str, active: Secrets, *, new: bool) -> bool:
        """Keep a tenant's secrets."""
        with translated(StoreUnavailableError, "the store of signing secrets"):
            try:
                self._client.put_parameter(
                    Name=parameter_name(self._stage, tenant),
                    Description="Signs the webhooks of a tenant of Laneway",
                    Type="SecureString",
                    Value=_write(active),
                    Overwrite=not new,
                    **self._key,
                )
            except self._client.exceptions.ParameterAlreadyExists:
                return False
        return True

    def remove(self, tenant: str) -> bool:
        """Forget a tenant's secrets."""
        with translated(StoreUnavailableError, "the store of signing secrets"):
            try:
                self._client.delete_parameter(Name=parameter_name(self._stage, tenant))
            except self._client.exceptions.ParameterNotFound:
                return False
        return True


class CachedSecrets:
    """Implements `SecretReader`: asks `store` once a minute for each tenant that has secrets.

    Parameter Store answers 40 calls a second for the whole account. Safe to use from threads.
    """

    def __init__(self, store: SecretReader, *, clock: Clock, keep_s: float = CACHE_S) -> None:
        self._store = store
        self._clock = clock
        self._keep_s = keep_s
        self._kept: dict[str, tuple[float, Secrets]] = {}

    def get(self, tenant: str) -> Secrets:
        """The active secrets of a tenant, as of the last minute."""
        until, active = self._kept.get(tenant, (0.0, ()))
        if self._clock() < until:
            return active
        active = self._store.get(tenant)
        if active:
            self._kept[tenant] = (self._clock() + self._keep_s, active)
        return active


def parameter_name(stage: str, tenant: str) -> str:
    """The parameter of a tenant; what a name may not hold is written as `.` and its code in hex."""
    escaped = "".join(c if _UNCHANGED.fullmatch(c) else f".{ord(c):02x}" for c in tenant)
    return f"/laneway/{stage}/webhooks/{escaped}"


def values(active: Secrets) -> Sequence[str]:
    """What to sign with."""
    return [secret.value for secret in active]


def _write(active: Secrets) -> str:
    return json.dumps([{"secret": item.value, "created_at": item.created_at} for item in active])


def _read(text: str) -> Secrets:
    return tuple(
        SigningSecret(value=item["secret"], created_at=item["created_at"])
        for item in json.loads(text)
    )
