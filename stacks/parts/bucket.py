"""The stage's bucket: private, encrypted, over TLS only, and emptied by lifecycle.

It keeps no old versions: every object is written once, under a key that holds its digest or the
writer's fence, so there is nothing that an overwriting could lose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import CfnResource, Duration, Fn, RemovalPolicy, Stack
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3

from stacks.parts.acknowledge import acknowledge

if TYPE_CHECKING:
    from constructs import Construct

    from stacks.stages import Stage

_PROVIDER: Final = "Custom::S3AutoDeleteObjectsCustomResourceProvider"
PREFIXES: Final = ("inputs/", "results/", "uploads/", "batches/")
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
        lifecycle_rules=[
            *(_expire(prefix, stage.queue_lane.object_days) for prefix in PREFIXES),
            s3.LifecycleRule(
                id="unfinished",
                abort_incomplete_multipart_upload_after=Duration.days(_UNFINISHED_DAYS),
            ),
        ],
        removal_policy=RemovalPolicy.RETAIN if stage.keep_data else RemovalPolicy.DESTROY,
        auto_delete_objects=not (stage.keep_data or stage.emulated),
    )
    acknowledge(
        bucket,
        rule="AwsSolutions-S1",
        reason="Every access is by a role of this stage or by an address that it signed, and each "
        "is in the functions' logs; a second bucket of server access logs would bill for more.",
    )
    _tell(bucket, told_of_uploads)
    if not (stage.keep_data or stage.emulated):
        _own_the_log_of_emptying(bucket)
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


def _own_the_log_of_emptying(bucket: s3.Bucket) -> None:
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


def _expire(prefix: str, days: int) -> s3.LifecycleRule:
    return s3.LifecycleRule(id=prefix.rstrip("/"), prefix=prefix, expiration=Duration.days(days))
