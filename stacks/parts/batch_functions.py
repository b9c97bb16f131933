"""The functions of batches that run no model: the splitter makes chunks, the finisher joins their files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk.aws_events_targets import LambdaFunction

from shared.results.batches_table import DUE
from shared.settings.jobs import BatchFinisherSettings, BatchSplitterSettings
from stacks import names
from stacks.parts.acknowledge import acknowledge_schedule
from stacks.parts.function import LanewayFunction, with_plugins_off
from stacks.parts.job_resources import JobResources
from stacks.parts.permissions import allow, allow_below, objects_at
from stacks.parts.queue_source import consume
from stacks.queues import BATCH_FUNCTIONS_TIMEOUT_S

if TYPE_CHECKING:
    from aws_cdk import Stack
    from aws_cdk import aws_lambda as lambda_

    from shared.settings.jobs import JobSettings
    from stacks.deployment import Deployment
    from stacks.packaging.assets import Asset

SPLITTER_HANDLER: Final = "functions.batch_splitter.handler.handler"
FINISHER_HANDLER: Final = "functions.batch_finisher.handler.handler"
_MEMORY_MIB: Final = 512
_CONCURRENCY: Final = 5
"""Batches that are split, or finished, at the same time."""


def batch_splitter(
    stack: Stack,
    deployment: Deployment,
    *,
    layer: lambda_.ILayerVersion,
) -> LanewayFunction:
    """Splits what callers, schedules and uploads begin."""
    stage, resources = deployment.stage, JobResources(stack, deployment)
    part = _function(
        stack,
        "BatchSplitter",
        deployment=deployment,
        layer=layer,
        name=names.batch_splitter_function(stage.name),
        description="Splits the inputs of batches into chunks",
        handler=SPLITTER_HANDLER,
        package=deployment.assets.batch_splitter,
        settings=BatchSplitterSettings(
            **resources.settings(),
            split_dead_letters=resources.queue_url(
                names.dead_letters(names.split_queue(stage.name))
            ),
        ),
    )
    _allow_table(part, resources, "dynamodb:PutItem", "dynamodb:Query")
    places = [place for found in stage.queue_lane.input_places.values() for place in found]
    allow_below(
        part,
        "ReadInputs",
        actions=["s3:GetObject"],
        arns=[*resources.objects("uploads/", "batches/"), *objects_at(places)],
    )
    allow(part, "TellMissing", actions=["s3:ListBucket"], resources=[resources.bucket_arn])
    _allow_sending(part, resources, names.split_queue(stage.name))
    _consume(part, resources, names.split_queue(stage.name))
    return part


def batch_finisher(
    stack: Stack,
    deployment: Deployment,
    *,
    layer: lambda_.ILayerVersion,
) -> LanewayFunction:
    """Joins files, and looks every minute after batches that somebody may have forgotten."""
    stage, resources = deployment.stage, JobResources(stack, deployment)
    part = _function(
        stack,
        "BatchFinisher",
        deployment=deployment,
        layer=layer,
        name=names.batch_finisher_function(stage.name),
        description="Joins the files of batches, and looks after those that were forgotten",
        handler=FINISHER_HANDLER,
        package=deployment.assets.batch_finisher,
        settings=BatchFinisherSettings(
            **resources.settings(),
            finish_dead_letters=resources.queue_url(
                names.dead_letters(names.finish_queue(stage.name))
            ),
        ),
    )
    _allow_table(part, resources, "dynamodb:Query")
    allow(
        part,
        "FindForgottenBatches",
        actions=["dynamodb:Query"],
        resources=[resources.batches_arn(index=DUE)],
    )
    allow_below(
        part,
        "JoinFiles",
        actions=[
            "s3:GetObject",
            "s3:PutObject",
            "s3:AbortMultipartUpload",
            "s3:ListMultipartUploadParts",
        ],
        arns=resources.objects("batches/"),
    )
    allow(part, "TellMissing", actions=["s3:ListBucket"], resources=[resources.bucket_arn])
    finish = names.finish_queue(stage.name)
    _allow_sending(part, resources, finish, names.split_queue(stage.name))
    _consume(part, resources, names.finish_queue(stage.name))
    rule = events.Rule(
        part,
        "EveryMinute",
        description="Starts the finisher to look after batches",
        schedule=events.Schedule.rate(Duration.minutes(1)),
        targets=[LambdaFunction(part.function)],
    )
    acknowledge_schedule(rule)
    return part


def _function(
    stack: Stack,
    construct_id: str,
    *,
    deployment: Deployment,
    layer: lambda_.ILayerVersion,
    name: str,
    description: str,
    handler: str,
    package: Asset,
    settings: JobSettings,
) -> LanewayFunction:
    return LanewayFunction(
        stack,
        construct_id,
        stage=deployment.stage,
        name=name,
        description=description,
        handler=handler,
        package=package,
        layers=[layer],
        environment=with_plugins_off(settings.to_env()),
        memory_mib=_MEMORY_MIB,
        timeout_s=BATCH_FUNCTIONS_TIMEOUT_S,
    )


def _allow_table(part: LanewayFunction, resources: JobResources, *more: str) -> None:
    allow(
        part,
        "KeepBatches",
        actions=["dynamodb:GetItem", "dynamodb:UpdateItem", *more],
        resources=[resources.batches_arn()],
    )


def _allow_sending(part: LanewayFunction, resources: JobResources, own: str, *others: str) -> None:
    """On to the workers and to others, to itself for what is left, and beside its queue what cannot be read."""
    queues = (own, names.dead_letters(own), *others)
    allow(
        part,
        "SendOn",
        actions=["sqs:SendMessage"],
        resources=[*resources.chunk_queue_arns, *(resources.queue_arn(name) for name in queues)],
    )


def _consume(part: LanewayFunction, resources: JobResources, queue: str) -> None:
    """One message a delivery: each is a whole batch."""
    consume(
        part,
        "queue",
        queue_arn=resources.queue_arn(queue),
        batch_size=1,
        max_concurrency=_CONCURRENCY,
    )
