"""The queues stack: each pool's async and batch queue, and the webhooks' queue, with what is behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import Stack

from stacks import names
from stacks.parts.job_resources import CLASSES
from stacks.parts.queue import LanewayQueue
from stacks.queue_lane import visibility_s

if TYPE_CHECKING:
    from constructs import Construct

    from stacks.deployment import Deployment

WEBHOOKS_TIMEOUT_S: Final = 60
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
            for kind in CLASSES:
                LanewayQueue(
                    self,
                    f"{pool}-{kind}",
                    name=names.pool_queue(stage.name, pool, kind),
                    visibility_s=visibility_s(
                        stage.queue_lane.worker_timeout_s,
                        window_s=stage.queue_lane.deliveries[kind].window_s,
                    ),
                )
        LanewayQueue(
            self,
            "webhooks",
            name=names.webhooks_queue(stage.name),
            visibility_s=visibility_s(WEBHOOKS_TIMEOUT_S),
            max_receives=WEBHOOKS_MAX_RECEIVES,
        )
