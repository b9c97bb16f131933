"""The gate of a function, from its settings; boto3 is loaded by the thread that first pays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.limiting.gate import Gate
from shared.schema.tenants import read_limits

if TYPE_CHECKING:
    from shared.limiting.counters import Counters


def open_gate(*, usage_table: str, tenant_limits: str) -> Gate | None:
    """None for a function that was told of no table: it limits nobody."""
    if not usage_table:
        return None
    return Gate(lambda: _connect(usage_table), defaults=read_limits(tenant_limits))


def _connect(table: str) -> Counters:
    from shared.aws import make_client  # noqa: PLC0415 - it loads boto3, which most environments never need
    from shared.limiting.counters_dynamodb import DynamoCounters  # noqa: PLC0415 - as above

    return DynamoCounters(make_client("dynamodb"), table=table)
