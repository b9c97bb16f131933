"""The topic that is notified, and alarms on rates and percentiles that notify it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Aws, Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk.aws_cloudwatch_actions import SnsAction
from aws_cdk.aws_sns_subscriptions import EmailSubscription

from stacks import names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from constructs import Construct

    from stacks.stages import Stage


def alarms_topic(scope: Construct, stage: Stage) -> sns.ITopic:
    """The topic that the stage names, or one of its own that alarms and the budget may notify."""
    if stage.alarms.topic_arn is not None:
        return sns.Topic.from_topic_arn(scope, "Alarms", stage.alarms.topic_arn)
    topic = sns.Topic(scope, "Alarms", topic_name=names.alarms_topic(stage.name), enforce_ssl=True)
    for service in names.NOTIFIERS:
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid=f"Notify{service.split('.')[0].title()}",
                principals=[iam.ServicePrincipal(service)],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            )
        )
    if stage.alarms.email is not None:
        topic.add_subscription(EmailSubscription(stage.alarms.email))
    return topic


class AlarmMaker:
    """Makes alarms that look at the stage's periods and notify its topic, when bad and when good again."""

    def __init__(self, scope: Construct, *, stage: Stage, topic: sns.ITopic) -> None:
        self._scope = scope
        self._stage = stage
        self._action = SnsAction(topic)
        self.names: list[str] = []

    def above(
        self,
        name: str,
        metric: cloudwatch.IMetric,
        *,
        threshold: float,
        description: str,
        periods: tuple[int, int] | None = None,
    ) -> None:
        """Alarm `laneway-<stage>-<name>` when the metric is above the threshold in most periods.

        `periods`: so many bad ones, of so many, where the stage's own are not meant.
        """
        alarming = self._stage.alarms
        bad, of = periods or (alarming.breaching, alarming.periods)
        self.names.append(f"laneway-{self._stage.name}-{name}")
        alarm = cloudwatch.Alarm(
            self._scope,
            name,
            alarm_name=self.names[-1],
            alarm_description=description,
            metric=metric,
            threshold=threshold,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            evaluation_periods=of,
            datapoints_to_alarm=bad,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        alarm.add_alarm_action(self._action)
        alarm.add_ok_action(self._action)


def metric(
    namespace: str,
    name: str,
    dimensions: Mapping[str, str],
    *,
    statistic: str,
    stage: Stage,
) -> cloudwatch.Metric:
    """A metric at the stage's alarm period.

    It has no label: with one, an alarm on it would be written as metric math.
    """
    return cloudwatch.Metric(
        namespace=namespace,
        metric_name=name,
        dimensions_map=dict(dimensions),
        statistic=statistic,
        period=Duration.seconds(stage.alarms.period_s),
    )


def percent(
    part: cloudwatch.Metric, whole: cloudwatch.Metric, *, label: str
) -> cloudwatch.MathExpression:
    """`part` of `whole` in percent; 0 where nothing was counted."""
    suffix = label.replace("-", "_")  # ids must differ between the expressions of one graph
    part_id, whole_id = f"part_{suffix}", f"whole_{suffix}"
    return cloudwatch.MathExpression(
        expression=f"IF({whole_id} > 0, 100 * FILL({part_id}, 0) / {whole_id}, 0)",
        using_metrics={part_id: part, whole_id: whole},
        label=label,
        period=part.period,
    )
