"""What stage `local` leaves out: resources that the embedded emulator refuses, one by one.

The emulator refuses a whole stack for one resource it cannot make. Everything that is not on this
list is deployed locally as it is elsewhere; tests/stacks/test_local.py holds the list to what is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aws_cdk import CfnResource
from aws_cdk.aws_cloudwatch import CfnAlarm

if TYPE_CHECKING:
    from constructs import IConstruct


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A resource type that is dropped, or those of a type that have a property."""

    type: str
    because: str
    locally: str
    """What its absence means on one's own machine."""
    property: str | None = None
    """Only resources that set this property; None: all of the type."""


REFUSED: Final = (
    Refusal(
        type="AWS::ApplicationAutoScaling::ScalableTarget",
        because="the emulator has no autoscaling",
        locally="warm environments stay at their minimum",
    ),
    Refusal(
        type="AWS::ApplicationAutoScaling::ScalingPolicy",
        because="the emulator has no autoscaling",
        locally="warm environments stay at their minimum",
    ),
    Refusal(
        type="AWS::Budgets::Budget",
        because="the emulator has no budgets",
        locally="nothing is spent",
    ),
    Refusal(
        type="AWS::CloudWatch::Alarm",
        property="Metrics",
        because="the emulator has no alarms on metric math",
        locally="alarms on rates are missing, those on single metrics are there",
    ),
)


def drop_refused(root: IConstruct) -> None:
    """Remove every refused resource below `root`, before it is synthesized."""
    for construct in root.node.find_all():
        if isinstance(construct, CfnResource) and _is_refused(construct):
            scope = construct.node.scope
            if scope is not None:
                scope.node.try_remove_child(construct.node.id)


def _is_refused(resource: CfnResource) -> bool:
    return any(
        refusal.type == resource.cfn_resource_type
        and (refusal.property is None or _is_set(resource, refusal.property))
        for refusal in REFUSED
    )


def _is_set(resource: CfnResource, name: str) -> bool:
    return name == "Metrics" and isinstance(resource, CfnAlarm) and resource.metrics is not None
