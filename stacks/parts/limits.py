"""What functions may do about tenants' limits: read one tenant's row, or count what a tenant used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stacks import names
from stacks.auth import takes_signatures
from stacks.parts.permissions import allow

if TYPE_CHECKING:
    from aws_cdk import Stack

    from stacks.parts.permissions import HasRole
    from stacks.stages import Stage


def looked_up_in(stage: Stage) -> str:
    """The table where functions behind an API look for a tenant's limits that no authorizer handed down."""
    return names.tenants_table(stage.name) if takes_signatures(stage.auth) else ""


def allow_reading_limits(part: HasRole, stack: Stack, stage: str) -> None:
    """Read the row of a tenant."""
    allow(
        part,
        "ReadLimits",
        actions=["dynamodb:GetItem"],
        resources=[_table(stack, names.tenants_table(stage))],
    )


def allow_counting(part: HasRole, stack: Stack, stage: str) -> None:
    """Move counters on; neither read the others' nor touch a tenant's limits."""
    allow(
        part,
        "CountUsage",
        actions=["dynamodb:UpdateItem"],
        resources=[_table(stack, names.usage_table(stage))],
    )


def _table(stack: Stack, name: str) -> str:
    return stack.format_arn(service="dynamodb", resource="table", resource_name=name)
