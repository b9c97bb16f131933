"""Alarms on what would hurt, the topic that they reach, the budget and the dashboard."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from functions.sweeper.service import COUNTS as SWEPT
from functions.webhooks.lines import METRICS as WEBHOOKS
from shared.job_telemetry import DIMENSIONS, ENDED, RAN
from shared.telemetry import NAMESPACE
from stacks.stages import DEV, Alarms

if TYPE_CHECKING:
    from conftest import Synthesized


QUEUE_LANE = ("batch-", "sweeper-", "webhooks-")


def alarms(synthesized: Synthesized) -> dict[str, dict]:
    return {
        alarm["AlarmName"].removeprefix(f"laneway-{synthesized.stage.name}-"): alarm
        for alarm in synthesized.properties("AWS::CloudWatch::Alarm")
    }


def test_there_is_an_alarm_for_each_thing_that_would_hurt_a_caller_who_waits(prod) -> None:
    lane = {name for name in alarms(prod) if name.startswith(QUEUE_LANE) or _is_queued(name)}

    assert set(alarms(prod)) - lane == {
        "gateway-5xx",
        "gateway-429",
        "ingress-crashes",
        "ingress-throttles",
        "authorizer-crashes",
        "authorizer-throttles",
        "shared-realtime-crashes",
        "shared-realtime-throttles",
        "shared-realtime-spill-over",
        "hot-realtime-crashes",
        "hot-realtime-throttles",
        "hot-realtime-spill-over",
        "model-iris-errors",
        "model-iris-p99",
        "model-text-errors",
        "model-text-p99",
        "audit-late",
    }


def _is_queued(name: str) -> bool:
    return any(part in name for part in ("-async-", "-batch-", "-chunk", "-queue-worker-"))


def test_every_pool_is_watched_for_late_failed_and_given_up_jobs(prod) -> None:
    found = alarms(prod)

    for pool in ("shared", "hot"):
        for kind, target_s in (("async", 60), ("batch", 6 * 3600)):
            late = found[f"{pool}-{kind}-late"]
            assert late["MetricName"] == "ApproximateAgeOfOldestMessage"
            assert late["Threshold"] == target_s
            assert late["Dimensions"] == [
                {"Name": "QueueName", "Value": f"laneway-prod-{pool}-{kind}"}
            ]
            assert found[f"{pool}-{kind}-failures"]["Threshold"] == 1


def test_one_message_in_any_dead_letter_queue_is_an_alarm(every_stage) -> None:
    dead = {
        queue["QueueName"]
        for queue in every_stage.properties("AWS::SQS::Queue")
        if queue["QueueName"].endswith("-dlq")
    }
    watched = {
        alarm["Dimensions"][0]["Value"]: alarm
        for name, alarm in alarms(every_stage).items()
        if name.endswith("-dead-letters")
    }

    assert dead == set(watched)
    assert {alarm["Threshold"] for alarm in watched.values()} == {0}
    names = {alarm["MetricName"] for alarm in watched.values()}
    assert names == {"ApproximateNumberOfMessagesVisible"}


def test_the_age_of_webhooks_is_not_watched_as_their_retries_take_days(prod) -> None:
    assert "webhooks-late" not in alarms(prod)
    assert "webhooks-dead-letters" in alarms(prod)


def test_every_function_is_watched_for_crashes(prod) -> None:
    for function in prod.properties("AWS::Lambda::Function"):
        name = function["FunctionName"].removeprefix("laneway-prod-")
        if name != "deployments":  # a crash of it fails the deployment that called it
            assert f"{name}-crashes" in alarms(prod)


def test_alarms_and_graphs_of_jobs_look_at_what_workers_write(prod) -> None:
    written = {name for name, _ in (*ENDED, *RAN)}
    failures = alarms(prod)["shared-async-failures"]
    read = [item["MetricStat"]["Metric"] for item in failures["Metrics"] if "MetricStat" in item]
    body = json.dumps(prod.properties("AWS::CloudWatch::Dashboard")[0]["DashboardBody"])

    assert {metric["MetricName"] for metric in read} <= written
    for metric in read:
        assert metric["Namespace"] == NAMESPACE
        assert sorted(d["Name"] for d in metric["Dimensions"]) == sorted(DIMENSIONS[0])
    for name in written - {"job_failures"}:
        assert name in body
    for name in (*WEBHOOKS, "swept_sent", "swept_exhausted"):
        assert name in body
    assert {"sent", "exhausted", "expired", "not_confirmed"} <= set(SWEPT)


def test_a_pool_without_warm_environments_has_no_spill_over_to_watch(dev) -> None:
    found = alarms(dev)

    assert "hot-realtime-spill-over" in found
    assert "shared-realtime-spill-over" not in found


def test_every_alarm_notifies_the_stages_topic_when_bad_and_when_good_again(every_stage) -> None:
    (topic,) = every_stage.resources("AWS::SNS::Topic")

    for alarm in alarms(every_stage).values():
        assert alarm["AlarmActions"] == [{"Ref": topic}]
        assert alarm["OKActions"] == [{"Ref": topic}]
        assert alarm["TreatMissingData"] == "notBreaching"


def test_latency_is_held_to_the_models_own_promise(prod) -> None:
    alarm = alarms(prod)["model-iris-p99"]

    assert alarm["Threshold"] == 70
    assert (alarm["Namespace"], alarm["MetricName"]) == ("Laneway", "latency_ms")
    assert alarm["ExtendedStatistic"] == "p99"
    dimensions = {item["Name"]: item["Value"] for item in alarm["Dimensions"]}
    assert dimensions == {"stage": "prod", "pool": "shared", "model": "iris"}


def test_error_rates_alarm_above_one_percent(prod) -> None:
    for name in ("gateway-5xx", "model-iris-errors", "shared-realtime-crashes"):
        alarm = alarms(prod)[name]

        assert alarm["Threshold"] == 1
        assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
        (rate,) = [metric for metric in alarm["Metrics"] if "Expression" in metric]
        assert "100 *" in rate["Expression"]


def test_pools_are_watched_at_the_alias_that_callers_reach(prod) -> None:
    alarm = alarms(prod)["hot-realtime-throttles"]

    dimensions = {item["Name"]: item["Value"] for item in alarm["Dimensions"]}
    assert dimensions == {
        "FunctionName": "laneway-prod-hot-realtime",
        "Resource": "laneway-prod-hot-realtime:live",
    }


def test_refusals_by_the_gateway_are_counted_from_its_access_log(prod) -> None:
    (found,) = prod.properties("AWS::Logs::MetricFilter")
    alarm = alarms(prod)["gateway-429"]

    assert "429" in found["FilterPattern"]
    assert found["LogGroupName"] == "/laneway/prod/access"
    (transformation,) = found["MetricTransformations"]
    assert alarm["MetricName"] == transformation["MetricName"]
    assert alarm["Namespace"] == transformation["MetricNamespace"]


def test_the_stages_own_topic_takes_messages_from_its_watchers_only(prod) -> None:
    (policy,) = prod.properties("AWS::SNS::TopicPolicy")

    allowed = [
        statement
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]
    services = {statement["Principal"]["Service"] for statement in allowed}
    assert services == {"cloudwatch.amazonaws.com", "budgets.amazonaws.com"}
    assert all("aws:SourceAccount" in json.dumps(statement) for statement in allowed)


def test_a_topic_that_the_stage_names_is_used_and_none_is_made(synthesize) -> None:
    arn = "arn:aws:sns:eu-west-1:111122223333:on-call"

    found = synthesize(dataclasses.replace(DEV, alarms=Alarms(topic_arn=arn)))

    assert found.properties("AWS::SNS::Topic") == []
    assert all(alarm["AlarmActions"] == [arn] for alarm in alarms(found).values())


def test_an_address_that_the_stage_names_is_subscribed(synthesize) -> None:
    found = synthesize(dataclasses.replace(DEV, alarms=Alarms(email="ops@example.org")))

    (subscription,) = found.properties("AWS::SNS::Subscription")
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "ops@example.org")


def test_the_budget_is_the_stages_and_warns_before_it_is_spent(prod) -> None:
    (budget,) = prod.properties("AWS::Budgets::Budget")

    assert budget["Budget"]["BudgetLimit"] == {
        "Amount": prod.stage.monthly_budget_usd,
        "Unit": "USD",
    }
    kinds = [
        (item["Notification"]["NotificationType"], item["Notification"]["Threshold"])
        for item in budget["NotificationsWithSubscribers"]
    ]
    assert kinds == [("ACTUAL", 80), ("FORECASTED", 100)]


def test_one_dashboard_shows_every_alarm_and_model(prod) -> None:
    (dashboard,) = prod.properties("AWS::CloudWatch::Dashboard")

    body = json.dumps(dashboard["DashboardBody"])
    assert dashboard["DashboardName"] == "laneway-prod"
    for name in alarms(prod):
        assert f":alarm:laneway-prod-{name}" in body
    for model in ("iris", "text"):
        assert model in body
