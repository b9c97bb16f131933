"""Records why a finding of the security checks is accepted; each finding by itself, with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Acknowledgment, Validations

if TYPE_CHECKING:
    from constructs import IConstruct


def acknowledge(construct: IConstruct, *, rule: str, reason: str) -> None:
    """Accept `rule` (for example `AwsSolutions-IAM5[Resource::*]`) on this construct and below."""
    Validations.of(construct).acknowledge(Acknowledgment(id=rule, reason=reason))


def acknowledge_schedule(rule: IConstruct) -> None:
    """Answer for a rule whose event may be lost, because the next one does the same."""
    acknowledge(
        rule,
        rule="Serverless-EventBusDLQ",
        reason="The function looks at all that there is, every minute: an event that was lost is made good "
        "by the next, and one that was kept would start a look that has been taken since.",
    )
