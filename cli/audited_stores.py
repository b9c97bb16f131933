"""Stores that commands open: each change is recorded by the store itself, so that no command can forget it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cli.audited import Audit
    from shared.jobs.webhook_secrets import Secrets, SecretStore
    from shared.keys import ApiKey, KeyStore
    from shared.limiting.tenants import TenantRow, TenantStore


class AuditedKeys:
    """A `KeyStore`."""

    def __init__(self, store: KeyStore, audit: Audit) -> None:
        self._store = store
        self._audit = audit

    def put(self, key: ApiKey, *, instead_of: ApiKey | None = None) -> None:
        """Record `key_create`, and `key_revoke` of the key that goes in the same step."""
        with self._audit.act("key_create", tenant=key.tenant, key_id=key.key_id):
            self._store.put(key, instead_of=instead_of)
        if instead_of is not None:
            self._audit.done("key_revoke", tenant=instead_of.tenant, key_id=instead_of.key_id)

    def get(self, key_hash: str) -> ApiKey | None:
        """The key of this hash."""
        return self._store.get(key_hash)

    def all(self) -> list[ApiKey]:
        """Every key."""
        return self._store.all()

    def revoke(self, key: ApiKey, *, revoked_at: str) -> None:
        """Record `key_revoke`."""
        with self._audit.act("key_revoke", tenant=key.tenant, key_id=key.key_id):
            self._store.revoke(key, revoked_at=revoked_at)


class AuditedSecrets:
    """A `SecretStore`; who looks at a secret is recorded by AWS, in CloudTrail."""

    def __init__(self, store: SecretStore, audit: Audit) -> None:
        self._store = store
        self._audit = audit

    def get(self, tenant: str) -> Secrets:
        """The tenant's secrets."""
        return self._store.get(tenant)

    def put(self, tenant: str, active: Secrets, *, new: bool) -> bool:
        """Record `secret_change`."""
        with self._audit.act("secret_change", tenant=tenant):
            return self._store.put(tenant, active, new=new)

    def remove(self, tenant: str) -> bool:
        """Record `secret_change`."""
        with self._audit.act("secret_change", tenant=tenant):
            return self._store.remove(tenant)


class AuditedTenants:
    """A `TenantStore`."""

    def __init__(self, store: TenantStore, audit: Audit) -> None:
        self._store = store
        self._audit = audit

    def get(self, tenant: str) -> TenantRow | None:
        """The tenant's row."""
        return self._store.get(tenant)

    def all(self) -> list[TenantRow]:
        """Every row."""
        return self._store.all()

    def put(self, row: TenantRow) -> None:
        """Record `limits_change`."""
        with self._audit.act("limits_change", tenant=row.tenant):
            self._store.put(row)

    def remove(self, tenant: str) -> None:
        """Record `limits_change`."""
        with self._audit.act("limits_change", tenant=tenant):
            self._store.remove(tenant)
