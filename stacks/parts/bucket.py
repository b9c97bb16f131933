"""The stage's bucket: private, encrypted, over TLS only, and emptied by lifecycle.

Every object is written once, under a key that holds its digest or the writer's fence. Versions keep what is
overwritten or removed all the same, by a caller's second upload or by mistake, for as long as the stage says.
See docs/decisions/0120-the-bucket-keeps-old-versions-for-a-day.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import CfnResource, Duration, Fn, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3

from shared.limits import PRESIGNED_S_MAX
from stacks.parts.acknowledge import acknowledge

if TYPE_CHECKING:
    from constructs import Construct

    from stacks.stages import Stage

_PROVIDER: Final = "Custom::S3AutoDeleteObjectsCustomResourceProvider"
_UNFINISHED_DAYS: Final = 2
"""A multipart upload that nobody finished is billed and never listed."""


def make_bucket(
    scope: Construct, construct_id: str, *, stage: Stage, name: str, told_of_uploads: str
) -> s3.Bucket:
    """The bucket; it goes with the stack and all its objects unless the stage keeps its data.

    `told_of_uploads`: ARN of the queue that hears of each upload, since one may begin a batch.
    """
    bucket = s3.Bucket(
        scope,
        construct_id,
        bucket_name=name,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        encryption=s3.BucketEncryption.S3_MANAGED,
        enforce_ssl=True,
        minimum_tls_version=None if stage.emulated else 1.2,
        versioned=True,
        lifecycle_rules=_lifecycle(stage),
        removal_policy=RemovalPolicy.RETAIN if stage.keep_data else RemovalPolicy.DESTROY,
        auto_delete_objects=not (stage.keep_data or stage.emulated),
    )
    acknowledge(
        bucket,
        rule="AwsSolutions-S1",
        reason="Every access is by a role of this stage or by an address that it signed, and each "
        "is in the functions' logs; a second bucket of server access logs would bill for more.",
    )
    _refuse_old_signatures(bucket)
    _tell(bucket, told_of_uploads)
    if not (stage.keep_data or stage.emulated):
        own_the_log_of_emptying(bucket)
    return bucket


def _tell(bucket: s3.Bucket, queue_arn: str) -> None:
    """In the bucket's own properties: the CDK's way would deploy a function to set them."""
    bucket.node.default_child.notification_configuration = (  # type: ignore[union-attr]  # a CfnBucket
        s3.CfnBucket.NotificationConfigurationProperty(
            queue_configurations=[
                s3.CfnBucket.QueueConfigurationProperty(
                    event="s3:ObjectCreated:*",
                    queue=queue_arn,
                    filter=s3.CfnBucket.NotificationFilterProperty(
                        s3_key=s3.CfnBucket.S3KeyFilterProperty(
                            rules=[s3.CfnBucket.FilterRuleProperty(name="prefix", value="uploads/")]
                        )
                    ),
                )
            ]
        )
    )


def own_the_log_of_emptying(bucket: s3.Bucket) -> None:
    """The CDK's function that empties the bucket would leave a log group behind that nobody owns."""
    stack = Stack.of(bucket)
    function = stack.node.find_child(_PROVIDER).node.find_child("Handler")
    emptying = bucket.node.find_child("AutoDeleteObjectsCustomResource").node.default_child
    if not (isinstance(function, CfnResource) and isinstance(emptying, CfnResource)):
        raise TypeError("the CDK empties buckets in another way than this module knows")
    log_group = logs.LogGroup(
        bucket,
        "EmptyingLogs",
        log_group_name=Fn.join("", ["/aws/lambda/", function.ref]),
        retention=logs.RetentionDays.ONE_DAY,
        removal_policy=RemovalPolicy.DESTROY,
    )
    emptying.node.add_dependency(log_group)


def _lifecycle(stage: Stage) -> list[s3.LifecycleRule]:
    """What is kept for how long; a version that is not the current one has days of its own."""
    old = Duration.days(stage.retention.old_versions_days)
    return [
        *(
            s3.LifecycleRule(
                id=prefix.rstrip("/"),
                prefix=prefix,
                expiration=Duration.days(days),
                noncurrent_version_expiration=old,
            )
            for prefix, days in stage.retention.objects_days.items()
        ),
        s3.LifecycleRule(id="markers", expired_object_delete_marker=True),
        s3.LifecycleRule(
            id="unfinished",
            abort_incomplete_multipart_upload_after=Duration.days(_UNFINISHED_DAYS),
        ),
    ]


def _refuse_old_signatures(bucket: s3.Bucket) -> None:
    """Whatever address somebody signs, for however long: S3 takes it for a quarter of an hour, and SigV4 alone."""
    refused = {
        "OldSignature": {"NumericGreaterThan": {"s3:signatureAge": str(PRESIGNED_S_MAX * 1000)}},
        "OldWayToSign": {
            "StringNotEqualsIfExists": {"s3:signatureversion": "AWS4-HMAC-SHA256"},
        },
    }
    for sid, condition in refused.items():
        bucket.add_to_resource_policy(
            iam.PolicyStatement(
                sid=sid,
                effect=iam.Effect.DENY,
                principals=[iam.AnyPrincipal()],
                actions=["s3:*"],
                resources=[bucket.bucket_arn, bucket.arn_for_objects("*")],
                conditions=condition,
            )
        )
