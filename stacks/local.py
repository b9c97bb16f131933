"""What stage `local` leaves out: resource types that the embedded emulator refuses, one by one.

The emulator refuses a whole stack for one type it does not know. Everything that is not on this list
is deployed locally as it is elsewhere; tests/stacks/test_local.py holds the list to what is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import CfnResource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from constructs import IConstruct

REFUSED_TYPES: Final[Mapping[str, str]] = {
    "AWS::ApplicationAutoScaling::ScalableTarget": "warm environments stay at their minimum",
    "AWS::ApplicationAutoScaling::ScalingPolicy": "warm environments stay at their minimum",
    "AWS::Budgets::Budget": "nothing is spent",
}
"""By type: what its absence means on one's own machine."""


def drop_refused(root: IConstruct) -> None:
    """Remove every resource of a refused type below `root`, before it is synthesized."""
    for construct in root.node.find_all():
        if CfnResource.is_cfn_resource(construct) and _type_of(construct) in REFUSED_TYPES:
            scope = construct.node.scope
            if scope is not None:
                scope.node.try_remove_child(construct.node.id)


def _type_of(construct: IConstruct) -> str:
    return construct.cfn_resource_type if isinstance(construct, CfnResource) else ""
