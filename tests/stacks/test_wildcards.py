"""Every `*` in a policy of any template stands on a list, with its reason."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest

from tests.stacks.aws_words import listed, resolved

ROLES = ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy")
ACTIONS = {
    ("AWS::S3::BucketPolicy", "s3:*"): "Denies whatever is not over TLS, or signed too long ago.",
    (
        "AWS::S3::BucketPolicy",
        "s3:GetBucket*",
    ): "The CDK's function empties the bucket of a stage that goes.",
    (
        "AWS::S3::BucketPolicy",
        "s3:List*",
    ): "The CDK's function empties the bucket of a stage that goes.",
    (
        "AWS::S3::BucketPolicy",
        "s3:DeleteObject*",
    ): "The CDK's function empties the bucket of a stage that goes.",
    ("AWS::SQS::QueuePolicy", "sqs:*"): "Denies whatever is not over TLS, to everybody.",
    ("AWS::KMS::Key", "kms:*"): "Whoever administrates the account may administrate its key.",
}
"""By the type of the policy and the action, as it is written."""
RESOURCES = {
    ("AWS::KMS::Key", "*"): "The policy of a key is about that key alone.",
    ("AWS::IAM::Policy", "*"): "Actions that AWS offers no resource for; ON_EVERYTHING has each.",
    ("AWS::IAM::Policy", "arn:aws:s3:::*/*"): "Objects below a prefix: their names hold tenants and jobs.",
    ("AWS::IAM::Policy", "Archive*.Arn/*"): "Objects of the audit's archive: their names hold dates.",
    ("AWS::IAM::Policy", "arn:aws:ssm:*:parameter/laneway/*/webhooks/*"): "One secret for each tenant.",
    ("AWS::IAM::Policy", "arn:aws:ecs:*/*"): "ECS names tasks and instances when they start.",
    ("AWS::IAM::Policy", "arn:aws:autoscaling:*:autoScalingGroup:*:autoScalingGroupName/*"):
        "The wildcard is the id that AWS gives the group, whose name is written out.",
    ("AWS::IAM::Policy", "arn:aws:logs:*:log-group:*:*"): "The streams of one log group.",
    ("AWS::S3::BucketPolicy", "*/*"): "All objects of the one bucket, for what is denied of them.",
}  # fmt: skip
"""By the type of the policy and the resource (a pattern, in which `*` is anything)."""
ON_EVERYTHING = {
    "xray:PutTraceSegments": "Traces have no resource.",
    "xray:PutTelemetryRecords": "Telemetry of traces has no resource.",
    "ecr:GetAuthorizationToken": "A token is for the account's registry, not for a repository.",
    "ecs:DiscoverPollEndpoint": "An agent asks whom to ask, before it has a resource.",
    "ec2:CreateNetworkInterface": "Lambda makes a function's interfaces; no id is known before.",
    "ec2:DeleteNetworkInterface": "As above, of interfaces that Lambda made.",
    "ec2:DescribeNetworkInterfaces": "Describing offers no resource.",
    "ec2:DescribeSubnets": "Describing offers no resource.",
    "ec2:AssignPrivateIpAddresses": "As above, of interfaces that Lambda made.",
    "ec2:UnassignPrivateIpAddresses": "As above, of interfaces that Lambda made.",
}
"""Actions of roles that may be on `*`, and why."""
STAGES = ("local", "dev", "prod", "gpu_prod", "rabbit")


@pytest.fixture(params=STAGES)
def statements(request):
    """Every statement of every policy of the stage: its type, and the statement."""
    synthesized = request.getfixturevalue(request.param)
    return [
        (resource["Type"], resolved(statement))
        for template in synthesized.templates.values()
        for resource in template["Resources"].values()
        for document in _documents(resource.get("Properties", {}))
        for statement in document["Statement"]
    ]


def _documents(properties):
    """Policies wherever a resource has them; who may take a role is no wildcard's place."""
    for name, value in properties.items():
        if name in {"PolicyDocument", "KeyPolicy"}:
            yield value
        elif name == "Policies":
            yield from (policy["PolicyDocument"] for policy in value)


def test_no_action_is_a_pattern_without_a_written_reason(statements) -> None:
    assert statements
    unexplained = [
        (type_, action)
        for type_, statement in statements
        for action in listed(statement["Action"])
        if "*" in action and (type_, action) not in ACTIONS
    ]
    assert unexplained == []


def test_no_role_is_allowed_a_pattern_of_actions(statements) -> None:
    assert not [s for type_, s in statements if type_ in ROLES and "*" in str(s["Action"])]


def test_no_resource_is_a_pattern_without_a_written_reason(statements) -> None:
    unexplained = [
        (type_, resource, statement["Action"])
        for type_, statement in statements
        for resource in map(str, listed(statement["Resource"]))
        if "*" in resource
        and not any(
            type_ == of and (resource == where or (where != "*" and fnmatchcase(resource, where)))
            for of, where in RESOURCES
        )
    ]
    assert unexplained == []


def test_what_a_role_may_do_to_everything_has_nothing_else_to_be_allowed_on(statements) -> None:
    unexplained = [
        action
        for type_, statement in statements
        if type_ in ROLES and "*" in listed(statement["Resource"])
        for action in listed(statement["Action"])
        if action not in ON_EVERYTHING
    ]
    assert unexplained == []


def test_everything_is_denied_without_tls(request) -> None:
    for name in STAGES:
        found = request.getfixturevalue(name)
        holders = {
            "AWS::S3::Bucket": ("AWS::S3::BucketPolicy", "Bucket"),
            "AWS::SQS::Queue": ("AWS::SQS::QueuePolicy", "Queues"),
            "AWS::SNS::Topic": ("AWS::SNS::TopicPolicy", "Topics"),
        }
        for type_, (policy_type, member) in holders.items():
            guarded = {
                str(target)
                for policy in found.properties(policy_type)
                for target in listed(policy[member])
                if any(_denies_without_tls(s) for s in policy["PolicyDocument"]["Statement"])
            }
            assert {str({"Ref": one}) for one in found.resources(type_)} == guarded, (name, type_)


def _denies_without_tls(statement) -> bool:
    return (
        statement["Effect"] == "Deny"
        and statement["Principal"] in ("*", {"AWS": "*"})
        and statement.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
    )
