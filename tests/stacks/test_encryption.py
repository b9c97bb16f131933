"""A stage with a key of its own: everything at rest is encrypted with it, and who may use it is written down."""

from __future__ import annotations

import dataclasses

import pytest

from stacks.encryption import NEEDS
from stacks.stages import DEV
from tests.stacks.aws_words import ACCOUNT, REGION, listed, resolved

HOLDERS = {
    "AWS::DynamoDB::Table": lambda found: found["SSESpecification"]["KMSMasterKeyId"],
    "AWS::Logs::LogGroup": lambda found: found["KmsKeyId"],
    "AWS::S3::Bucket": lambda found: found["BucketEncryption"]["ServerSideEncryptionConfiguration"][
        0
    ]["ServerSideEncryptionByDefault"]["KMSMasterKeyID"],
    "AWS::SNS::Topic": lambda found: found["KmsMasterKeyId"],
    "AWS::SQS::Queue": lambda found: found["KmsMasterKeyId"],
}
"""Every type of ours that holds data or names, and where its key is said."""
SERVICES = {
    "s3.amazonaws.com": {"kms:Decrypt", "kms:GenerateDataKey"},
    "cloudwatch.amazonaws.com": {"kms:Decrypt", "kms:GenerateDataKey"},
    "budgets.amazonaws.com": {"kms:Decrypt", "kms:GenerateDataKey"},
    f"logs.{REGION}.amazonaws.com": {
        *("kms:Decrypt", "kms:GenerateDataKey", "kms:Encrypt"),
        *("kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:DescribeKey"),
    },
}


@pytest.fixture(scope="module")
def dev_with_key(synthesize):
    return synthesize(dataclasses.replace(DEV, customer_key=True))


def is_the_key(synthesized, reference) -> bool:
    """Whether it is the key itself, or what the key's stack exports of it."""
    (key,) = synthesized.resources("AWS::KMS::Key")
    imported = str(reference.get("Fn::ImportValue", ""))
    return reference == {"Fn::GetAtt": [key, "Arn"]} or (
        imported.startswith(f"laneway-{synthesized.stage.name}-key:") and key in imported
    )


@pytest.mark.parametrize("stage", ["gpu_prod", "dev_with_key"])
def test_everything_that_holds_data_is_encrypted_with_the_stages_key(stage, request) -> None:
    found = request.getfixturevalue(stage)

    for type_, key_of in HOLDERS.items():
        resources = found.resources(type_)
        assert resources, type_
        for name, resource in resources.items():
            if resource["Properties"].get("ObjectLockEnabled"):
                continue  # it outlasts the stage and its key: tests/stacks/test_audit.py
            assert is_the_key(found, key_of(resource["Properties"])), name
    for queue in found.properties("AWS::SQS::Queue"):
        assert "SqsManagedSseEnabled" not in queue
        assert queue["KmsDataKeyReusePeriodSeconds"] == 3600
    for bucket in found.properties("AWS::S3::Bucket"):
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule.get("BucketKeyEnabled", False) is not bucket.get("ObjectLockEnabled", False)


def test_a_stage_without_a_key_has_none_and_grants_none(dev) -> None:
    assert dev.resources("AWS::KMS::Key") == {}
    assert "key" not in dev.templates
    for policy in dev.properties("AWS::IAM::Policy"):
        for statement in policy["PolicyDocument"]["Statement"]:
            assert not any(action.startswith("kms:") for action in listed(statement["Action"]))


def test_the_key_is_turned_every_year_and_found_by_a_name(gpu_prod) -> None:
    (key,) = gpu_prod.properties("AWS::KMS::Key")
    (alias,) = gpu_prod.properties("AWS::KMS::Alias")

    assert key["EnableKeyRotation"] is True
    assert alias["AliasName"] == "alias/laneway-prod"


def test_services_may_use_the_key_for_the_stages_own_resources_alone(gpu_prod) -> None:
    (key,) = gpu_prod.properties("AWS::KMS::Key")
    administrator, *statements = resolved(key["KeyPolicy"]["Statement"])

    assert administrator["Principal"] == {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    allowed = {s["Principal"]["Service"]: set(s["Action"]) for s in statements}
    assert allowed == SERVICES
    for statement in statements:
        narrowed = {"aws:SourceAccount", "kms:EncryptionContext:aws:logs:arn"}
        assert {name for test in statement["Condition"].values() for name in test} & narrowed
    logs = next(s for s in statements if s["Principal"]["Service"].startswith("logs."))
    assert logs["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"] == [
        f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/laneway-prod-*",
        f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/laneway/prod/*",
    ]


def test_every_log_group_is_one_that_the_key_may_be_used_for(gpu_prod, dev_with_key) -> None:
    for found in (gpu_prod, dev_with_key):
        stage = found.stage.name
        for group in found.properties("AWS::Logs::LogGroup"):
            name = str(resolved(group["LogGroupName"]))
            emptying = name.startswith("/aws/lambda/CustomS3AutoDeleteObjects")
            named = name.startswith((f"/aws/lambda/laneway-{stage}-", f"/laneway/{stage}/"))
            # The CDK's function has no name; CloudFormation begins it with that of its stack.
            assert named or (emptying and stage == "dev"), name


def test_who_may_read_or_write_data_may_have_it_decrypted_and_nobody_else(gpu_prod) -> None:
    users = 0
    for policy in gpu_prod.properties("AWS::IAM::Policy"):
        statements = policy["PolicyDocument"]["Statement"]
        actions = {action for s in statements for action in listed(s["Action"])}
        used = {action for action in actions if action in NEEDS}
        keys = [s for s in statements if s.get("Sid") == "UseStagesKey"]
        assert len(keys) == bool(used), policy["PolicyName"]
        for statement in keys:
            users += 1
            assert set(listed(statement["Action"])) == {n for a in used for n in NEEDS[a]}
            assert is_the_key(gpu_prod, statement["Resource"])
            services = listed(resolved(statement["Condition"])["StringEquals"]["kms:ViaService"])
            named = {f"{action.partition(':')[0]}.{REGION}.amazonaws.com" for action in used}
            assert set(services) == named
    assert users > 8


def test_what_reads_and_writes_data_here_is_on_the_list_of_what_needs_the_key(gpu_prod) -> None:
    reading = ("dynamodb:", "s3:GetObject", "s3:PutObject", "sqs:Send", "sqs:Receive", "ssm:Get")
    for policy in gpu_prod.properties("AWS::IAM::Policy"):
        for statement in policy["PolicyDocument"]["Statement"]:
            for action in listed(statement["Action"]):
                assert action in NEEDS or not action.startswith(reading), action


def test_scanners_find_nothing_in_a_stage_with_a_key(dev_with_key) -> None:
    assert dev_with_key.error is None
    assert [r for r, _ in dev_with_key.findings if "python-on" not in r] == []
