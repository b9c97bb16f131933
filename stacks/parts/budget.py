"""A monthly budget over the whole account.

Over the account and not over a tag: a tag counts only after somebody activates it for billing, and a
budget that silently sees nothing is worse than one that sees too much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import aws_budgets as budgets

if TYPE_CHECKING:
    from aws_cdk import aws_sns as sns
    from constructs import Construct

    from stacks.stages import Stage

_NOTIFY_AT: Final = (("ACTUAL", 80), ("FORECASTED", 100))
"""Kind of spend, and percent of the limit."""


def monthly_budget(
    scope: Construct, *, stage: Stage, limit_usd: int, topic: sns.ITopic
) -> budgets.CfnBudget:
    """Notify the topic at 80 % spent and when the forecast passes the limit."""
    subscriber = budgets.CfnBudget.SubscriberProperty(
        subscription_type="SNS", address=topic.topic_arn
    )
    return budgets.CfnBudget(
        scope,
        "Budget",
        budget=budgets.CfnBudget.BudgetDataProperty(
            budget_name=f"laneway-{stage.name}",
            budget_type="COST",
            time_unit="MONTHLY",
            budget_limit=budgets.CfnBudget.SpendProperty(amount=limit_usd, unit="USD"),
        ),
        notifications_with_subscribers=[
            budgets.CfnBudget.NotificationWithSubscribersProperty(
                notification=budgets.CfnBudget.NotificationProperty(
                    notification_type=kind,
                    comparison_operator="GREATER_THAN",
                    threshold=percent,
                    threshold_type="PERCENTAGE",
                ),
                subscribers=[subscriber],
            )
            for kind, percent in _NOTIFY_AT
        ],
    )
