"""Batches by the clock: what is scheduled, who may begin one, and what is refused before it is."""

from __future__ import annotations

import dataclasses
import json

import pytest

from shared.jobs.batches.started import read_recurring
from stacks.errors import StageError
from stacks.recurring_batch import RecurringBatch
from stacks.stages import DEV, PROD
from tests.fixtures.permissions import read_statements
from tests.stacks.aws_words import resolved

SUBMISSION = {
    "endpoint": "/v2/models/iris/infer",
    "input": "s3://lake/nightly/input.jsonl",
    "window": "22:00-06:00",
}
NIGHTLY = RecurringBatch(
    name="nightly", schedule="cron(0 22 * * ? *)", timezone="Europe/Berlin", submission=SUBMISSION
)


@pytest.fixture(scope="module")
def nightly(synthesize):
    return synthesize(dataclasses.replace(DEV, recurring_batches=(NIGHTLY,)))


def test_a_stage_schedules_what_it_lists_and_nothing_by_itself(nightly, prod) -> None:
    (schedule,) = nightly.properties("AWS::Scheduler::Schedule")
    assert nightly.error is None
    assert all("python-on" in rule for rule, _ in nightly.findings)
    assert schedule["ScheduleExpression"] == "cron(0 22 * * ? *)"
    assert schedule["ScheduleExpressionTimezone"] == "Europe/Berlin"
    assert resolved(schedule["Target"]["Arn"]).endswith(":laneway-dev-batch-split")
    assert PROD.recurring_batches == ()
    assert prod.properties("AWS::Scheduler::Schedule") == []


def test_a_schedule_s_role_sends_to_the_splitter_s_queue_and_does_nothing_else(nightly) -> None:
    (schedule,) = nightly.properties("AWS::Scheduler::Schedule")
    role, _ = schedule["Target"]["RoleArn"]["Fn::GetAtt"]
    documents = [
        resolved(policy["PolicyDocument"])
        for policy in nightly.properties("AWS::IAM::Policy")
        if {"Ref": role} in policy["Roles"]
    ]

    (allowed,) = read_statements(documents)

    assert (allowed.effect, allowed.actions) == ("Allow", ("sqs:SendMessage",))
    assert allowed.resources == (resolved(schedule["Target"]["Arn"]),)
    (trusted,) = nightly.resources("AWS::IAM::Role")[role]["Properties"][
        "AssumeRolePolicyDocument"
    ]["Statement"]
    assert trusted["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert "Condition" in trusted


def test_what_a_schedule_says_is_what_the_splitter_reads(nightly) -> None:
    (schedule,) = nightly.properties("AWS::Scheduler::Schedule")
    told = schedule["Target"]["Input"].replace("<aws.scheduler.execution-id>", "d32c5kddcf5bb8c3")

    started = read_recurring(json.loads(told))

    assert (started.tenant, started.batch_id) == ("default", "nightly-d32c5kddcf5bb8c3")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "Nightly run"}, "a name is up to 26"),
        ({"schedule": "0 22 * * *"}, "is no schedule"),
        ({"submission": {**SUBMISSION, "endpont": ""}}, "endpont"),
        ({"submission": {"endpoint": SUBMISSION["endpoint"]}}, "input"),
    ],
)
def test_a_recurring_batch_that_could_never_run_is_refused(change, message) -> None:
    with pytest.raises(StageError, match=message):
        dataclasses.replace(NIGHTLY, **change)
