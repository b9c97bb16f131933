"""The audit's archive: everything feeds it, nobody empties it, and a deployment is a record of its own."""

from __future__ import annotations

import dataclasses
import json
import time
import uuid
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from typer.testing import CliRunner

from cli.main import app
from shared.repository import read_repository
from stacks.audit import RECORDS, REFUSED_BY_GATEWAY, served_versions
from stacks.deployment import Deployment
from stacks.stages import DEV, PROD
from tests.stacks.aws_words import ACCOUNT, REGION, allowed_to, listed, resolved

LOCKS = ("governance", "compliance")


def stack_of(synthesized) -> dict:
    return synthesized.templates["audit"]["Resources"]


def of_type(synthesized, type_: str) -> list[dict]:
    return [found for found in stack_of(synthesized).values() if found["Type"] == type_]


def archive(synthesized) -> dict:
    [bucket] = of_type(synthesized, "AWS::S3::Bucket")
    return bucket


def test_every_log_group_of_the_stage_feeds_the_archive_but_that_of_its_own_failures(
    dev, gpu_prod
) -> None:
    for synthesized in (dev, gpu_prod):
        stage = synthesized.stage.name
        filters = synthesized.resources("AWS::Logs::SubscriptionFilter").values()
        subscribed = {
            _name(synthesized, found["Properties"]["LogGroupName"]): found["Properties"]
            for found in filters
        }
        named = {
            resolved(group["LogGroupName"])
            for group in synthesized.properties("AWS::Logs::LogGroup")
            if isinstance(group["LogGroupName"], str)
        }

        assert set(subscribed) == named - {f"/laneway/{stage}/audit-archive"}
        access = subscribed.pop(f"/laneway/{stage}/access")
        assert access["FilterPattern"] == REFUSED_BY_GATEWAY
        assert {found["FilterPattern"] for found in subscribed.values()} == {RECORDS}


def _name(synthesized, value) -> str:
    """A group's name, also where the template refers to the group."""
    if isinstance(value, str):
        return value
    return str(stack_of(synthesized)[value["Ref"]]["Properties"]["LogGroupName"])


def test_prod_locks_the_archive_for_as_long_as_it_keeps_it(prod) -> None:
    found = archive(prod)["Properties"]
    days = prod.stage.retention.audit_days

    assert found["ObjectLockEnabled"] is True
    assert found["ObjectLockConfiguration"]["Rule"]["DefaultRetention"] == {
        "Mode": "GOVERNANCE",
        "Days": days,
    }
    assert found["VersioningConfiguration"] == {"Status": "Enabled"}
    rules = {rule["Id"]: rule for rule in found["LifecycleConfiguration"]["Rules"]}
    assert rules["records"]["ExpirationInDays"] == days


def test_a_locked_archive_is_not_encrypted_with_a_key_that_somebody_could_end(prod) -> None:
    assert prod.stage.customer_key
    [rule] = archive(prod)["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"]

    assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}


def test_the_archive_in_prod_refuses_deletion_and_its_preparation_to_everybody(prod) -> None:
    [policy] = of_type(prod, "AWS::S3::BucketPolicy")
    statements = {s.get("Sid"): s for s in policy["Properties"]["PolicyDocument"]["Statement"]}

    refusal = statements["NobodyDeletes"]
    assert refusal["Effect"] == "Deny"
    assert refusal["Principal"] == {"AWS": "*"}
    assert set(refusal["Action"]) == {
        "s3:DeleteObject",
        "s3:DeleteObjectVersion",
        "s3:BypassGovernanceRetention",
        "s3:PutObjectRetention",
    }
    assert archive(prod)["DeletionPolicy"] == "Retain"
    assert prod.properties("Custom::S3AutoDeleteObjects") == []


@pytest.mark.parametrize("mode", LOCKS)
def test_a_locked_archive_outlasts_a_stage_that_keeps_nothing_else(synthesize, mode) -> None:
    found = synthesize(dataclasses.replace(DEV, audit_lock=mode))

    rule = archive(found)["Properties"]["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]
    assert (found.error, rule["Mode"]) == (None, mode.upper())
    assert archive(found)["DeletionPolicy"] == "Retain"
    assert (
        "BucketName" not in archive(found)["Properties"]
    )  # the next stage of the name has another


def test_an_archive_that_is_not_locked_goes_with_its_stage(dev) -> None:
    assert "ObjectLockEnabled" not in archive(dev)["Properties"]
    assert archive(dev)["DeletionPolicy"] == "Delete"


def test_the_stream_may_write_below_the_archive_and_nothing_takes_from_it(prod, dev) -> None:
    for synthesized in (prod, dev):
        everything = [
            action
            for policy in synthesized.properties("AWS::IAM::Policy")
            for statement in policy["PolicyDocument"]["Statement"]
            for action in listed(statement["Action"])
        ]
        assert not [action for action in everything if action.startswith("s3:Delete")]
        assert not [action for action in everything if action.startswith("logs:Delete")]
        [stream] = of_type(synthesized, "AWS::KinesisFirehose::DeliveryStream")
        written = stream["Properties"]["ExtendedS3DestinationConfiguration"]
        [bucket] = [
            name
            for name, found in stack_of(synthesized).items()
            if found["Type"] == "AWS::S3::Bucket"
        ]
        assert written["BucketARN"] == {"Fn::GetAtt": [bucket, "Arn"]}
        assert written["CompressionFormat"] == "UNCOMPRESSED"
        encryption = stream["Properties"]["DeliveryStreamEncryptionConfigurationInput"]
        assert encryption == {"KeyType": "AWS_OWNED_CMK"}


@pytest.fixture
def deployed_archive(prod, monkeypatch):
    """What `prod` declares between its log groups and the archive, made in moto; gives the stage's name.

    It has no layout of objects by the clock: it puts the hour behind any prefix itself.
    """
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    stage = f"p{uuid.uuid4().hex[:8]}"
    renamed = json.loads(json.dumps(resolved(prod.templates["audit"])).replace("-prod-", f"-{stage}-")
                         .replace("/prod/", f"/{stage}/"))["Resources"]  # fmt: skip
    with mock_aws():
        yield stage, _deploy_archive(renamed, stage)


def _deploy_archive(template, stage):
    def declared(type_):
        return [found["Properties"] for found in template.values() if found["Type"] == type_]

    s3, logs, firehose, stacks = (
        boto3.client(service, region_name=REGION)
        for service in ("s3", "logs", "firehose", "cloudformation")
    )
    bucket, role = f"archive-{stage}", f"arn:aws:iam::{ACCOUNT}:role/any"
    s3.create_bucket(
        Bucket=bucket,
        ObjectLockEnabledForBucket=True,
        CreateBucketConfiguration={"LocationConstraint": REGION},
    )
    [made] = declared("AWS::S3::Bucket")
    lock = made["ObjectLockConfiguration"]
    s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=lock)
    [stream] = declared("AWS::KinesisFirehose::DeliveryStream")
    written = stream["ExtendedS3DestinationConfiguration"]
    prefix, by_the_clock, _ = written["Prefix"].partition("!{timestamp:yyyy/MM/dd/HH}/")
    assert by_the_clock
    arn = firehose.create_delivery_stream(
        DeliveryStreamName=stream["DeliveryStreamName"],
        DeliveryStreamType=stream["DeliveryStreamType"],
        ExtendedS3DestinationConfiguration={
            **written,
            "BucketARN": f"arn:aws:s3:::{bucket}",
            "RoleARN": role,
            "Prefix": prefix,
        },
    )["DeliveryStreamARN"]
    for found in declared("AWS::Logs::SubscriptionFilter"):
        group = found["LogGroupName"]
        group = group if "/" in group else template[group]["Properties"]["LogGroupName"]
        logs.create_log_group(logGroupName=group)
        logs.create_log_stream(logGroupName=group, logStreamName="s")
        logs.put_retention_policy(logGroupName=group, retentionInDays=1)
        logs.put_subscription_filter(
            logGroupName=group,
            filterName=found["FilterName"],
            filterPattern=found["FilterPattern"],
            destinationArn=arn,
            roleArn=role,
        )
    stacks.create_stack(
        StackName=f"laneway-{stage}-audit",
        TemplateBody=json.dumps(
            {
                "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
                "Outputs": {"ArchiveBucket": {"Value": bucket}},
            }
        ),
    )
    return bucket


def test_a_record_goes_from_its_log_group_through_the_stream_into_the_archive_and_is_found_there(
    deployed_archive,
) -> None:
    stage, bucket = deployed_archive
    logs = boto3.client("logs", region_name=REGION)
    three_days_ago = int((time.time() - 3 * 86_400) * 1000)  # past what the log groups keep
    lines = {
        f"/aws/lambda/laneway-{stage}-shared-realtime": [
            {"message": "request", "audit": "infer", "request_id": "r-1", "stage": stage},
            {"message": "authorization", "request_id": "r-0"},
        ],
        f"/laneway/{stage}/audit": [{"audit": "key_create", "outcome": "ok", "key_id": "k-1"}],
        f"/laneway/{stage}/access": [{"integration_status": "-", "status": "401", "request_id": "r-2"}],
    }  # fmt: skip
    for group, told in lines.items():
        events = [{"timestamp": three_days_ago, "message": json.dumps(line)} for line in told]
        logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=events)

    asked = ["audit", "--stage", stage, "--region", REGION, "--since", "7d", "--json"]
    result = CliRunner().invoke(app, asked)

    assert result.exit_code == 0, result.output
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert {(r["act"], r.get("request_id", r.get("key_id"))) for r in found} == {
        ("infer", "r-1"),
        ("key_create", "k-1"),
        ("denied", "r-2"),
    }
    s3 = boto3.client("s3", region_name=REGION)
    kept = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert len(kept) == len(lines)


def test_an_object_of_the_locked_archive_is_refused_its_deletion(deployed_archive) -> None:
    _, bucket = deployed_archive
    s3 = boto3.client("s3", region_name=REGION)
    version = s3.put_object(Bucket=bucket, Key="records/a", Body=b"a")["VersionId"]

    with pytest.raises(ClientError, match="AccessDenied"):
        s3.delete_object(Bucket=bucket, Key="records/a", VersionId=version)


def test_the_services_between_logs_and_archive_act_for_this_account_alone(prod) -> None:
    trusts = [
        statement
        for role in of_type(prod, "AWS::IAM::Role")
        for statement in role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    ]
    by_service = {statement["Principal"]["Service"]: statement for statement in trusts}

    for service in ("firehose.amazonaws.com", "logs.amazonaws.com"):
        condition = resolved(by_service[service]["Condition"])
        assert condition == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def test_commands_records_have_a_log_group_that_is_kept_like_the_archive(every_stage) -> None:
    stage = every_stage.stage
    [group] = [
        found["Properties"]
        for found in of_type(every_stage, "AWS::Logs::LogGroup")
        if resolved(found["Properties"]["LogGroupName"]) == f"/laneway/{stage.name}/audit"
    ]

    assert group["RetentionInDays"] == stage.retention.audit_days


def test_the_local_stage_has_no_archive_since_the_emulator_delivers_nothing_to_it(local) -> None:
    types = {found["Type"] for found in stack_of(local).values()}

    assert types == {
        "AWS::IAM::Policy",
        "AWS::IAM::Role",
        "AWS::Lambda::Function",
        "AWS::Logs::LogGroup",
        "Custom::LanewayServedModels",
    }
    source = list(Path(__file__).parents[2].glob(".venv-emulator/lib/python*/site-packages"))
    if source:
        logs = source[0] / "ministack" / "services" / "cloudwatch_logs.py"
        assert "Firehose destinations are stored but not delivered" in logs.read_text()


def test_a_deployment_tells_the_recording_function_of_every_served_version(
    small_models, assets, dev
) -> None:
    deployment = Deployment(stage=DEV, repository=read_repository(small_models), assets=assets)

    lines = served_versions(deployment)

    manifest = json.loads((small_models / "scale" / "2" / "manifest.json").read_text())
    assert f"scale 2 {manifest['files'][0]['sha256']}" in lines
    [served] = of_type(dev, "Custom::LanewayServedModels")
    assert served["Properties"]["Served"] == []  # the models of these stacks have no versions
    assert int(served["Properties"]["ServiceTimeout"]) <= 60


def test_the_recording_function_may_write_its_own_log_and_nothing_else(prod) -> None:
    allowed = allowed_to(prod, "laneway-prod-deployments")

    own = {action for action in allowed if not action.startswith("xray:")}
    assert own == {"logs:CreateLogStream", "logs:PutLogEvents"}
    [function] = [
        found["Properties"]
        for found in of_type(prod, "AWS::Lambda::Function")
        if found["Properties"].get("FunctionName") == "laneway-prod-deployments"
    ]
    assert "Layers" not in function


def test_records_that_do_not_arrive_in_the_archive_alarm(dev, local) -> None:
    def alarms(synthesized):
        return [
            found
            for found in synthesized.properties("AWS::CloudWatch::Alarm")
            if found.get("Namespace") == "AWS/Firehose"
        ]

    [alarm] = alarms(dev)
    assert alarm["AlarmName"] == "laneway-dev-audit-late"
    assert alarm["MetricName"] == "DeliveryToS3.DataFreshness"
    assert alarm["Dimensions"] == [{"Name": "DeliveryStreamName", "Value": "laneway-dev-audit"}]
    assert alarm["Threshold"] > 300
    assert alarms(local) == []


def test_the_archive_is_reached_by_its_stacks_output(prod) -> None:
    outputs = prod.templates["audit"]["Outputs"]

    assert set(outputs) == {"ArchiveBucket"}
    assert PROD.audit_lock == "governance"
