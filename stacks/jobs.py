"""The jobs stack: what serves the queue lane beside the pools. Sweeper, webhooks, batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import ArnFormat, Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk.aws_events_targets import LambdaFunction

from shared.results.table import DUE, HOOKS, UNSENT
from shared.settings.jobs import SweeperSettings, WebhooksSettings
from stacks import names
from stacks.parts.acknowledge import acknowledge_schedule
from stacks.parts.batch_functions import batch_finisher, batch_splitter
from stacks.parts.function import LanewayFunction, control_layer, with_plugins_off
from stacks.parts.job_resources import JobResources
from stacks.parts.permissions import allow, allow_below, allow_invoking
from stacks.parts.queue_source import consume
from stacks.parts.recurring import schedule_batches
from stacks.parts.send_function import send_function
from stacks.queues import WEBHOOKS_TIMEOUT_S

if TYPE_CHECKING:
    from aws_cdk import aws_lambda as lambda_
    from constructs import Construct

    from stacks.deployment import Deployment

SWEEPER_HANDLER: Final = "functions.sweeper.handler.handler"
WEBHOOKS_HANDLER: Final = "functions.webhooks.handler.handler"
SWEEP_EVERY_S: Final = 60
_SWEEPER_TIMEOUT_S: Final = 50
"""Shorter than the time between two passes; two at once would do no harm."""
_MEMORY_MIB: Final = 256
_WEBHOOKS_BATCH: Final = 10


class JobsStack(Stack):
    """Functions that run no model."""

    def __init__(
        self,
        scope: Construct,
        *,
        deployment: Deployment,
        public_url: str,
    ) -> None:
        stage = deployment.stage
        super().__init__(
            scope,
            names.stack(stage.name, "jobs"),
            description=f"Laneway {stage.name}: the sweeper and the webhooks",
        )
        self.deployment = deployment
        self.resources = JobResources(self, deployment)
        layer = control_layer(self, deployment.assets.control, stage=stage)
        _sweeper(self, layer)
        _webhooks(self, layer, public_url)
        if stage.broker == "rabbitmq":
            send_function(self, deployment, layer=layer)
        batch_splitter(self, deployment, layer=layer)
        batch_finisher(self, deployment, layer=layer)
        schedule_batches(self, self.resources)


def _sweeper(stack: JobsStack, layer: lambda_.ILayerVersion) -> None:
    resources, stage = stack.resources, stack.deployment.stage
    webhooks = names.webhooks_queue(stage.name)
    settings = SweeperSettings(**resources.settings(), webhooks_queue=resources.queue_url(webhooks))
    part = LanewayFunction(
        stack,
        "Sweeper",
        stage=stage,
        name=names.sweeper_function(stage.name),
        description="Looks, every minute, after every job that somebody may have forgotten",
        handler=SWEEPER_HANDLER,
        package=stack.deployment.assets.sweeper,
        layers=[layer],
        environment=with_plugins_off(settings.to_env()),
        memory_mib=_MEMORY_MIB,
        timeout_s=_SWEEPER_TIMEOUT_S,
    )
    table, indexes = resources.table_arn(), (UNSENT, DUE, HOOKS)
    allow(
        part,
        "LookAfterJobs",
        actions=["dynamodb:UpdateItem"],
        resources=[table],
    )
    allow(
        part,
        "FindForgottenJobs",
        actions=["dynamodb:Query"],
        resources=[resources.table_arn(index=index) for index in indexes],
    )
    allow(
        part,
        "SendAgain",
        actions=["sqs:SendMessage"],
        resources=[*resources.job_queue_arns, resources.queue_arn(webhooks)],
    )
    allow_invoking(part, resources, resources.send_functions)
    rule = events.Rule(
        part,
        "EveryMinute",
        description="Starts the sweeper",
        schedule=events.Schedule.rate(Duration.seconds(SWEEP_EVERY_S)),
        targets=[LambdaFunction(part.function)],
    )
    acknowledge_schedule(rule)


def _webhooks(stack: JobsStack, layer: lambda_.ILayerVersion, public_url: str) -> None:
    resources, stage = stack.resources, stack.deployment.stage
    queue = names.webhooks_queue(stage.name)
    settings = WebhooksSettings(
        stage=stage.name,
        log_level=stage.log_level,
        jobs_table=names.jobs_table(stage.name),
        webhooks_queue=resources.queue_url(queue),
        webhooks_dead_letters=resources.queue_url(names.dead_letters(queue)),
        public_url=public_url,
        webhook_loopback=resources.webhook_loopback,
        webhook_ca_file=stack.deployment.webhook_ca_file or "",
    )
    part = LanewayFunction(
        stack,
        "Webhooks",
        stage=stage,
        name=names.webhooks_function(stage.name),
        description="Tells callers' URLs of ended jobs",
        handler=WEBHOOKS_HANDLER,
        package=stack.deployment.assets.webhooks,
        layers=[layer],
        environment=with_plugins_off(settings.to_env()),
        memory_mib=_MEMORY_MIB,
        timeout_s=WEBHOOKS_TIMEOUT_S,
    )
    _allow_webhooks(stack, part, queue)
    consume(
        part,
        "webhooks",
        queue_arn=resources.queue_arn(queue),
        batch_size=_WEBHOOKS_BATCH,
        max_concurrency=stage.queue_lane.webhooks_concurrency,
    )


def _allow_webhooks(stack: JobsStack, part: LanewayFunction, queue: str) -> None:
    """As little as there is: it calls addresses that strangers choose."""
    resources, stage = stack.resources, stack.deployment.stage
    allow(
        part,
        "ReadOneJob",
        actions=["dynamodb:GetItem"],
        resources=[resources.table_arn()],
    )
    secrets = stack.format_arn(
        service="ssm",
        resource="parameter",
        resource_name=f"{names.webhook_secrets(stage.name)}/*",
        arn_format=ArnFormat.SLASH_RESOURCE_NAME,
    )
    allow_below(part, "ReadSigningSecrets", actions=["ssm:GetParameter"], arns=[secrets])
    allow(
        part,
        "BuryEvents",
        actions=["sqs:SendMessage"],
        resources=[resources.queue_arn(names.dead_letters(queue))],
    )
