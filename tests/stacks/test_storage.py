"""The tables and the bucket: encrypted, recoverable, closed, and kept or removed as the stage says."""

from __future__ import annotations

import dataclasses
import json

import pytest

from shared.jobs.ask import PRESIGNED_S
from shared.jobs.submit import UPLOAD_S
from shared.limits import JOB_TTL_S_MAX, PRESIGNED_S_MAX
from shared.results.table import TTL_ATTRIBUTE, table_definition
from stacks.errors import StageError
from stacks.queue_lane import QueueLane
from stacks.retention import Retention
from stacks.stages import DEV
from tests.stacks.aws_words import ACCOUNT, REGION, resolved


def tables(synthesized) -> dict[str, dict]:
    prefix = f"laneway-{synthesized.stage.name}-"
    return {
        table["TableName"].removeprefix(prefix): table
        for table in synthesized.properties("AWS::DynamoDB::Table")
    }


def stored(synthesized, type_: str) -> list[dict]:
    """Properties of the storage stack's resources of a type; the audit's archive is a stack of its own."""
    resources = synthesized.templates["storage"]["Resources"].values()
    return [found.get("Properties", {}) for found in resources if found["Type"] == type_]


def test_every_table_can_be_restored_to_any_second_is_encrypted_and_bills_use_alone(
    every_stage,
) -> None:
    assert set(tables(every_stage)) == {"keys", "tenants", "usage", "jobs", "batches"}
    for table in tables(every_stage).values():
        assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
        assert table["SSESpecification"]["SSEEnabled"] is True
        assert table["BillingMode"] == "PAY_PER_REQUEST"


def test_keys_are_found_by_their_hash(every_stage) -> None:
    assert tables(every_stage)["keys"]["KeySchema"] == [
        {"AttributeName": "key_hash", "KeyType": "HASH"}
    ]


def test_the_jobs_table_is_the_one_that_tests_make(every_stage) -> None:
    deployed = tables(every_stage)["jobs"]
    definition = table_definition(deployed["TableName"])

    for member in ("KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes"):
        assert _sorted(deployed[member]) == _sorted(definition[member])


def test_nobody_outside_reaches_the_bucket_and_nobody_without_tls(every_stage) -> None:
    (bucket,) = stored(every_stage, "AWS::S3::Bucket")
    (policy,) = stored(every_stage, "AWS::S3::BucketPolicy")

    assert bucket["PublicAccessBlockConfiguration"] == {
        "BlockPublicAcls": True,
        "BlockPublicPolicy": True,
        "IgnorePublicAcls": True,
        "RestrictPublicBuckets": True,
    }
    assert bucket["BucketEncryption"]
    statements = policy["PolicyDocument"]["Statement"]
    open_to_all = [s for s in statements if s["Principal"] in ("*", {"AWS": "*"})]
    assert open_to_all
    assert {statement["Effect"] for statement in open_to_all} == {"Deny"}
    assert any("aws:SecureTransport" in json.dumps(s["Condition"]) for s in open_to_all)


def test_the_buckets_name_holds_account_and_region_as_names_are_taken_worldwide(prod) -> None:
    (bucket,) = stored(prod, "AWS::S3::Bucket")

    assert resolved(bucket["BucketName"]) == f"laneway-prod-{ACCOUNT}-{REGION}"


def rules_of(synthesized) -> dict[str, dict]:
    (bucket,) = stored(synthesized, "AWS::S3::Bucket")
    return {rule["Id"]: rule for rule in bucket["LifecycleConfiguration"]["Rules"]}


def test_objects_outlive_every_job_that_may_name_them_and_no_longer(every_stage) -> None:
    rules, kept = rules_of(every_stage), every_stage.stage.retention

    longest_s = JOB_TTL_S_MAX + kept.jobs_s
    for name in ("inputs", "results", "uploads", "batches"):
        assert rules[name]["Prefix"] == f"{name}/"
        assert rules[name]["ExpirationInDays"] == longest_s // 86_400 == 14
    assert rules["unfinished"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 2}


def test_each_kind_of_data_is_kept_for_as_long_as_the_stage_says(synthesize) -> None:
    kept = Retention(
        jobs_days=3, inputs_days=8, results_days=2, uploads_days=9, batches_days=10,
        old_versions_days=4, logs_days=5,
    )  # fmt: skip

    found = synthesize(dataclasses.replace(DEV, retention=kept))

    rules = rules_of(found)
    named = ("inputs", "results", "uploads", "batches")
    assert [rules[name]["ExpirationInDays"] for name in named] == [8, 2, 9, 10]
    assert [rules[name]["NoncurrentVersionExpiration"] for name in named] == [
        {"NoncurrentDays": 4}
    ] * 4
    told = [
        settings["JOB_RETENTION_S"]
        for function in found.properties("AWS::Lambda::Function")
        if "JOB_RETENTION_S" in (settings := function.get("Environment", {}).get("Variables", {}))
    ]
    assert len(told) >= 4
    assert set(told) == {str(3 * 86_400)}
    groups = found.properties("AWS::Logs::LogGroup")
    assert {group["RetentionInDays"] for group in groups} - {1} >= {5}


@pytest.mark.parametrize("table", ["jobs", "batches"])
def test_rows_go_by_time_to_live(every_stage, table) -> None:
    live = tables(every_stage)[table]["TimeToLiveSpecification"]
    assert live == {"AttributeName": TTL_ATTRIBUTE, "Enabled": True}


def test_what_is_overwritten_or_removed_stays_for_a_day_and_its_marker_no_longer(
    every_stage,
) -> None:
    (bucket,) = stored(every_stage, "AWS::S3::Bucket")
    rules = rules_of(every_stage)

    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    for name in ("inputs", "results", "uploads", "batches"):
        assert rules[name]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}
    assert rules["markers"]["ExpiredObjectDeleteMarker"] is True


def test_the_bucket_takes_no_signature_older_than_a_quarter_of_an_hour_and_only_sigv4(
    every_stage,
) -> None:
    (policy,) = stored(every_stage, "AWS::S3::BucketPolicy")
    found = {s["Sid"]: s for s in policy["PolicyDocument"]["Statement"] if "Sid" in s}

    old = found["OldSignature"]
    assert (old["Effect"], old["Action"], old["Principal"]) == ("Deny", "s3:*", {"AWS": "*"})
    assert old["Condition"] == {"NumericGreaterThan": {"s3:signatureAge": "900000"}}
    assert found["OldWayToSign"]["Condition"] == {
        "StringNotEqualsIfExists": {"s3:signatureversion": "AWS4-HMAC-SHA256"}
    }
    assert PRESIGNED_S_MAX == UPLOAD_S == PRESIGNED_S == 900


@pytest.mark.parametrize(
    ("days", "said"),
    [
        ({"inputs_days": 7}, "inputs_days is 7; a job may wait for 7 days"),
        ({"uploads_days": 1}, "uploads_days is 1"),
        ({"batches_days": 0}, "batches_days is 0"),
        ({"results_days": 0}, "results_days is 0; write 1 or more"),
        ({"jobs_days": 0}, "jobs_days is 0"),
        ({"old_versions_days": 0}, "old_versions_days is 0"),
        ({"audit_days": 3654}, "audit_days is 3654; CloudWatch Logs offers"),
    ],
)
def test_a_retention_that_would_lose_a_jobs_input_or_is_not_offered_is_refused(days, said) -> None:
    with pytest.raises(StageError, match=said):
        Retention(**days)


def test_prod_keeps_tables_key_and_bucket_when_the_stack_goes(prod) -> None:
    kept = [
        *prod.resources("AWS::DynamoDB::Table").values(),
        *prod.resources("AWS::S3::Bucket").values(),
        *prod.resources("AWS::KMS::Key").values(),
    ]
    (key,) = prod.properties("AWS::KMS::Key")

    assert {resource["DeletionPolicy"] for resource in kept} == {"Retain"}
    assert all(table["DeletionProtectionEnabled"] for table in tables(prod).values())
    assert key["EnableKeyRotation"] is True
    assert stored(prod, "Custom::S3AutoDeleteObjects") == []


def test_dev_and_local_leave_nothing_behind(dev, local) -> None:
    for synthesized in (dev, local):
        for template in synthesized.templates.values():
            for name, resource in template["Resources"].items():
                assert resource.get("DeletionPolicy", "Delete") == "Delete", name


def test_devs_bucket_is_emptied_before_it_goes(dev) -> None:
    (emptying,) = stored(dev, "Custom::S3AutoDeleteObjects")
    (bucket,) = [
        name
        for name, found in dev.templates["storage"]["Resources"].items()
        if found["Type"] == "AWS::S3::Bucket"
    ]

    assert emptying["BucketName"] == {"Ref": bucket}


@pytest.mark.parametrize("place", ["s3://b/p", "b/p/", "s3:///p/", "s3://b/*/", "https://b/p/"])
def test_a_place_that_is_not_a_prefix_of_a_bucket_is_refused(place) -> None:
    with pytest.raises(StageError, match=r"write s3://bucket/prefix/"):
        QueueLane(input_places={"default": (place,)})


def test_places_that_the_stage_lists_are_allowed_and_nothing_beside_them(synthesize) -> None:
    lane = QueueLane(
        input_places={"acme": ("s3://lake/raw/",)}, result_aliases={"out": "s3://lake/done/"}
    )

    found = synthesize(dataclasses.replace(DEV, queue_lane=lane))

    assert found.error is None
    assert found.findings == [] or all("python-on" in rule for rule, _ in found.findings)
    worker = _statements(found, "laneway-dev-shared-queue-worker")
    assert "arn:aws:s3:::lake/raw/*" in worker["ReadInputs"]
    assert "arn:aws:s3:::lake/done/*" in worker["WriteResults"]
    assert not any(
        "/lake/" in str(found) for found in worker["WriteResults"] - {"arn:aws:s3:::lake/done/*"}
    )


def _statements(synthesized, function: str) -> dict[str, set[str]]:
    (role,) = [
        resolved(found["Role"]).removesuffix(".Arn")
        for found in synthesized.properties("AWS::Lambda::Function")
        if found.get("FunctionName") == function
    ]
    return {
        statement["Sid"]: set(resolved(statement["Resource"]))
        for policy in synthesized.properties("AWS::IAM::Policy")
        if role in resolved(policy["Roles"])
        for statement in policy["PolicyDocument"]["Statement"]
        if isinstance(statement.get("Resource"), list) and "Sid" in statement
    }


def _sorted(value):
    if isinstance(value, list):
        return sorted((_sorted(item) for item in value), key=str)
    if isinstance(value, dict):
        return {name: _sorted(item) for name, item in value.items()}
    return value
