"""The queues stack: each pool's queues, those of batches and of webhooks, with what is behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import Annotations, Aws, Stack
from aws_cdk import aws_iam as iam

from stacks import names
from stacks.parts.job_resources import CHUNKS
from stacks.parts.queue import LanewayQueue
from stacks.queue_lane import GPU_VISIBILITY_S, LOCAL_GPU_VISIBILITY_S, visibility_s

if TYPE_CHECKING:
    from constructs import Construct

    from stacks.deployment import Deployment
    from stacks.stages import Stage

WEBHOOKS_TIMEOUT_S: Final = 60
BATCH_FUNCTIONS_TIMEOUT_S: Final = 900
WEBHOOKS_MAX_RECEIVES: Final = 30
"""Ten attempts, the receives inside their long waits, and room."""


class QueuesStack(Stack):
    """Queues alone, so that no change of a function can touch a message."""

    def __init__(self, scope: Construct, *, deployment: Deployment) -> None:
        stage = deployment.stage
        super().__init__(
            scope,
            names.stack(stage.name, "queues"),
            description=f"Laneway {stage.name}: the queues of jobs and webhooks",
        )
        for pool in deployment.queue_pools:
            on_sqs = deployment.job_queues(pool) if stage.broker == "sqs" else ()
            for kind in (*on_sqs, CHUNKS):
                LanewayQueue(
                    self,
                    f"{pool}-{kind}",
                    name=names.pool_queue(stage.name, pool, kind),
                    visibility_s=_hidden_s(deployment, pool, kind),
                )
        _batch_queues(self, stage)
        LanewayQueue(
            self,
            "webhooks",
            name=names.webhooks_queue(stage.name),
            visibility_s=visibility_s(WEBHOOKS_TIMEOUT_S),
            max_receives=WEBHOOKS_MAX_RECEIVES,
        )
        if deployment.models_without_fleet:
            _warn_of_no_fleet(self, deployment)


def _warn_of_no_fleet(stack: QueuesStack, deployment: Deployment) -> None:
    models = ", ".join(repr(name) for name in deployment.models_without_fleet)
    Annotations.of(stack).add_warning_v2(
        "laneway:no-fleet-for-gpu-models",
        f"Stage {deployment.stage.name!r} has no fleet, so jobs for {models}, which run on a gpu, are "
        "refused. To run them, set fleet=Fleet() for the stage in stacks/stages.py: it needs Docker "
        "to deploy, and costs at rest (docs/costs.md).",
    )


def _hidden_s(deployment: Deployment, pool: str, kind: str) -> int:
    lane = deployment.stage.queue_lane
    if pool in deployment.gpu_pools:
        return LOCAL_GPU_VISIBILITY_S if deployment.stage.emulated else GPU_VISIBILITY_S
    if kind == CHUNKS:
        return visibility_s(lane.chunk_timeout_s)
    return visibility_s(lane.worker_timeout_s, window_s=lane.deliveries[kind].window_s)


def _batch_queues(stack: QueuesStack, stage: Stage) -> None:
    hidden_s = visibility_s(BATCH_FUNCTIONS_TIMEOUT_S)
    LanewayQueue(stack, "batch-finish", name=names.finish_queue(stage.name), visibility_s=hidden_s)
    split = LanewayQueue(
        stack, "batch-split", name=names.split_queue(stage.name), visibility_s=hidden_s
    )
    bucket = names.bucket(stage.name, account=Aws.ACCOUNT_ID, region=Aws.REGION)
    split.queue.add_to_resource_policy(
        iam.PolicyStatement(
            sid="HearOfUploads",
            principals=[iam.ServicePrincipal("s3.amazonaws.com")],
            actions=["sqs:SendMessage"],
            resources=[split.queue.queue_arn],
            conditions={
                "StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID},
                "ArnEquals": {"aws:SourceArn": f"arn:{Aws.PARTITION}:s3:::{bucket}"},
            },
        )
    )
