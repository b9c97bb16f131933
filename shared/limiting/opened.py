"""The gate of a function, from its settings; boto3 is loaded by the thread that first pays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.errors import StoreUnavailableError
from shared.limiting.gate import Gate
from shared.schema.tenants import read_limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.limiting.counters import Counters
    from shared.limiting.rows import Rows
    from shared.limiting.tenants import TenantRow
    from shared.schema.tenants import TenantLimits


def open_gate(*, usage_table: str, tenant_limits: str, tenants_table: str = "") -> Gate | None:
    """None for a function that was told of no table: it limits nobody.

    `tenants_table`: for callers who come by no authorizer of ours; empty: there are none.
    """
    if not usage_table:
        return None
    defaults = read_limits(tenant_limits)
    return Gate(
        lambda: _connect(usage_table),
        defaults=defaults,
        rows=_rows(tenants_table, defaults) if tenants_table else None,
    )


def _connect(table: str) -> Counters:
    from shared.aws import make_client  # noqa: PLC0415 - it loads boto3, which most environments never need
    from shared.limiting.counters_dynamodb import DynamoCounters  # noqa: PLC0415 - as above

    return DynamoCounters(make_client("dynamodb"), table=table)


def _rows(table: str, defaults: TenantLimits) -> Rows:
    from shared.limiting.rows import Rows  # noqa: PLC0415 - few stages need it

    return Rows(lambda: _open_rows(table), defaults=defaults)


def _open_rows(table: str) -> Callable[[str], TenantRow | None]:
    from shared.aws import make_client, translated  # noqa: PLC0415 - it loads boto3, as above
    from shared.limiting.tenants import DynamoTenantStore  # noqa: PLC0415 - as above

    store = DynamoTenantStore(make_client("dynamodb"), table=table)

    def row_of(tenant: str) -> TenantRow | None:
        with translated(StoreUnavailableError, "the table of tenants' limits"):
            return store.get(tenant)

    return row_of
