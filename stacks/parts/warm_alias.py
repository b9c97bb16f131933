"""The alias `live` with its warm capacity: on demand, SnapStart, or provisioned and following use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import aws_applicationautoscaling as scaling
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from shared.schema.spec import ProvisionedWarm
from stacks import names
from stacks.errors import SynthError

if TYPE_CHECKING:
    from shared.schema.spec import Warm, WarmSchedule


class WarmAlias(Construct):
    """The alias, moved to a new version by every deploy that changes the function.

    Provisioned concurrency is on the alias, never on a version: a version's is lost and bought anew
    with each deploy.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, function: lambda_.Function, warm: Warm
    ) -> None:
        super().__init__(scope, construct_id)
        provisioned = warm if isinstance(warm, ProvisionedWarm) else None
        self.alias = lambda_.Alias(
            self,
            "Alias",
            alias_name=names.ALIAS,
            version=function.current_version,
            provisioned_concurrent_executions=provisioned.min if provisioned else None,
        )
        _refuse_both(function, warm)
        if provisioned is not None:
            _follow_use(self.alias, provisioned)


def _refuse_both(function: lambda_.Function, warm: Warm) -> None:
    cfn = function.node.default_child
    if isinstance(warm, ProvisionedWarm) and getattr(cfn, "snap_start", None) is not None:
        raise SynthError(
            f"{function.node.path}: SnapStart and provisioned concurrency exclude each other"
        )


def _follow_use(alias: lambda_.Alias, warm: ProvisionedWarm) -> None:
    target = alias.add_auto_scaling(min_capacity=warm.min, max_capacity=warm.max)
    target.scale_on_utilization(utilization_target=warm.utilization)
    for number, change in enumerate(warm.schedule):
        target.scale_on_schedule(
            f"Schedule{number}",
            schedule=_cron(change),
            min_capacity=change.min,
            max_capacity=change.max,
        )


def _cron(change: WarmSchedule) -> scaling.Schedule:
    """Five fields of ordinary cron, or six with a year, in the form of Application Auto Scaling."""
    fields = change.cron.split()
    year = fields[5] if len(fields) > 5 else "*"  # noqa: PLR2004 - the sixth field is the year
    return scaling.Schedule.expression(f"cron({' '.join(_with_question_mark(fields[:5]))} {year})")


def _with_question_mark(fields: list[str]) -> list[str]:
    """One of day and weekday must be `?` there."""
    minute, hour, day, month, weekday = fields
    if "?" in (day, weekday):
        return fields
    if weekday == "*":
        return [minute, hour, day, month, "?"]
    return [minute, hour, "?", month, weekday]
