"""The archive of audit records: log groups feed a Firehose stream, which writes to a bucket of its own.

Nobody's role here may delete or overwrite an object of it. Where the stage locks its audit, S3 refuses
that of everybody until an object's days are over; the lifecycle removes it then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aws_cdk import Aws, Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kinesisfirehose as firehose
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct

from stacks import names
from stacks.parts.acknowledge import acknowledge
from stacks.parts.alarms import metric
from stacks.parts.bucket import own_the_log_of_emptying
from stacks.parts.function import retention
from stacks.parts.permissions import allow, allow_below

if TYPE_CHECKING:
    from stacks.parts.alarms import AlarmMaker
    from stacks.stages import Stage

RECORDS: Final = "records/"
BUFFER_S: Final = 300
"""A record is in the bucket so long after Firehose has it, or sooner where there are many."""
BUFFER_MIB: Final = 64
LATE_S: Final = 1800
_UNFINISHED_DAYS: Final = 2
_LOG_STREAM: Final = "delivery"
_NEVER: Final = (
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:BypassGovernanceRetention",
    "s3:PutObjectRetention",
)


class AuditArchive(Construct):
    """The bucket, the stream into it, and the roles between them."""

    def __init__(self, scope: Construct, construct_id: str, *, stage: Stage) -> None:
        super().__init__(scope, construct_id)
        self._stage = stage
        self.bucket = _bucket(self, stage)
        self._writer = _Part(self, "Writer", "firehose.amazonaws.com", "What the stream may do")
        self.stream = _stream(self, stage, self.bucket, self._writer)
        self._feeder = _Part(self, "Feeder", "logs.amazonaws.com", "What log groups may do")
        allow(
            self._feeder,
            "FeedTheStream",
            actions=["firehose:PutRecord", "firehose:PutRecordBatch"],
            resources=[self.stream.attr_arn],
        )

    def subscribe(self, construct_id: str, *, log_group: str, pattern: str) -> None:
        """Take the lines of a log group that fit the pattern, from now on."""
        subscription = logs.CfnSubscriptionFilter(
            self,
            f"From {construct_id}".replace("/", "|"),
            filter_name="audit",
            log_group_name=log_group,
            filter_pattern=pattern,
            destination_arn=self.stream.attr_arn,
            role_arn=self._feeder.role.role_arn,
        )
        subscription.node.add_dependency(self._feeder)


def watch_archive(alarms: AlarmMaker, stage: Stage) -> None:
    """An alarm for records that do not arrive; Firehose gives them up after a day."""
    if stage.emulated:
        return
    alarms.above(
        "audit-late",
        metric(
            "AWS/Firehose",
            "DeliveryToS3.DataFreshness",
            {"DeliveryStreamName": names.audit_stream(stage.name)},
            statistic="Maximum",
            stage=stage,
        ),
        threshold=LATE_S,
        description="Audit records are not written to their archive; after a day they are lost to it",
    )


class _Part(Construct):
    """A role that a service takes on for this account alone."""

    def __init__(self, scope: Construct, construct_id: str, service: str, description: str) -> None:
        super().__init__(scope, construct_id)
        self.role = iam.Role(
            self,
            "Role",
            description=description,
            assumed_by=iam.ServicePrincipal(
                service, conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}}
            ),
        )


def _bucket(scope: Construct, stage: Stage) -> s3.Bucket:
    """Named by CloudFormation: a locked one outlasts its stage, and the next must not meet its name."""
    days = Duration.days(stage.retention.audit_days)
    stays = stage.keep_data or stage.audit_lock is not None
    bucket = s3.Bucket(
        scope,
        "Bucket",
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        encryption=s3.BucketEncryption.S3_MANAGED,
        enforce_ssl=True,
        minimum_tls_version=1.2,
        versioned=True,
        lifecycle_rules=[
            s3.LifecycleRule(
                id="records", expiration=days, noncurrent_version_expiration=Duration.days(1)
            ),
            s3.LifecycleRule(id="markers", expired_object_delete_marker=True),
            s3.LifecycleRule(
                id="unfinished",
                abort_incomplete_multipart_upload_after=Duration.days(_UNFINISHED_DAYS),
            ),
        ],
        removal_policy=RemovalPolicy.RETAIN if stays else RemovalPolicy.DESTROY,
        auto_delete_objects=not stays,
        **_lock(stage, days),
    )
    acknowledge(
        bucket,
        rule="AwsSolutions-S1",
        reason="One role writes here and none reads; who of the account reads is in CloudTrail's data "
        "events, and a bucket of access logs would need an archive of its own.",
    )
    if stage.audit_lock is not None:
        _let_nobody_delete(bucket)
    if not stays:
        own_the_log_of_emptying(bucket)
    return bucket


def _lock(stage: Stage, days: Duration) -> dict[str, Any]:
    if stage.audit_lock is None:
        return {}
    modes = {
        "governance": s3.ObjectLockRetention.governance,
        "compliance": s3.ObjectLockRetention.compliance,
    }
    return {
        "object_lock_enabled": True,
        "object_lock_default_retention": modes[stage.audit_lock](days),
    }


def _let_nobody_delete(bucket: s3.Bucket) -> None:
    """Not even who may bypass the lock; S3's own lifecycle asks no policy."""
    bucket.add_to_resource_policy(
        iam.PolicyStatement(
            sid="NobodyDeletes",
            effect=iam.Effect.DENY,
            principals=[iam.AnyPrincipal()],
            actions=list(_NEVER),
            resources=[bucket.arn_for_objects("*")],
        )
    )


def _stream(
    scope: Construct, stage: Stage, bucket: s3.Bucket, writer: _Part
) -> firehose.CfnDeliveryStream:
    failures = _failures(scope, stage)
    allow(
        writer,
        "FindTheArchive",
        actions=["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"],
        resources=[bucket.bucket_arn],
    )
    allow_below(
        writer,
        "WriteTheArchive",
        actions=["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"],
        arns=[bucket.arn_for_objects("*")],
    )
    failures.grant_write(writer.role)
    stream = firehose.CfnDeliveryStream(
        scope,
        "Stream",
        delivery_stream_name=names.audit_stream(stage.name),
        delivery_stream_type="DirectPut",
        delivery_stream_encryption_configuration_input=(
            firehose.CfnDeliveryStream.DeliveryStreamEncryptionConfigurationInputProperty(
                key_type="AWS_OWNED_CMK"
            )
        ),
        extended_s3_destination_configuration=_destination(bucket, writer, failures),
    )
    stream.node.add_dependency(writer)
    return stream


def _destination(
    bucket: s3.Bucket, writer: _Part, failures: logs.LogGroup
) -> firehose.CfnDeliveryStream.ExtendedS3DestinationConfigurationProperty:
    """Objects of gzip members as CloudWatch Logs sends them, below the hour (UTC) of their arrival."""
    words = firehose.CfnDeliveryStream
    return words.ExtendedS3DestinationConfigurationProperty(
        bucket_arn=bucket.bucket_arn,
        role_arn=writer.role.role_arn,
        prefix=f"{RECORDS}!{{timestamp:yyyy/MM/dd/HH}}/",
        error_output_prefix="failed/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd/HH}/",
        file_extension=".gz",
        compression_format="UNCOMPRESSED",  # CloudWatch Logs has compressed them
        buffering_hints=words.BufferingHintsProperty(
            interval_in_seconds=BUFFER_S, size_in_m_bs=BUFFER_MIB
        ),
        cloud_watch_logging_options=words.CloudWatchLoggingOptionsProperty(
            enabled=True, log_group_name=failures.log_group_name, log_stream_name=_LOG_STREAM
        ),
    )


def _failures(scope: Construct, stage: Stage) -> logs.LogGroup:
    group = logs.LogGroup(
        scope,
        "Failures",
        log_group_name=names.archive_log_group(stage.name),
        retention=retention(stage.retention.logs_days),
        removal_policy=RemovalPolicy.DESTROY,
    )
    logs.LogStream(
        scope,
        "Delivery",
        log_group=group,
        log_stream_name=_LOG_STREAM,
        removal_policy=RemovalPolicy.DESTROY,
    )
    return group
