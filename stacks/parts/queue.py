"""A queue as Laneway deploys it: encrypted, over TLS only, with its dead-letter queue behind it."""

from __future__ import annotations

from typing import Final

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from shared.limits import JOB_TTL_S_MAX, SQS_RETENTION_S_MAX, SQS_VISIBILITY_S_MAX
from stacks import names
from stacks.errors import SynthError
from stacks.parts.acknowledge import acknowledge

MAX_RECEIVES: Final = 20
"""A backstop: attempts are counted in the job's row, and a delivery that ran nothing costs none."""
RETENTION_S: Final = JOB_TTL_S_MAX + 24 * 3600
"""Longer than any job waits, and shorter than the dead-letter queue's: a message that is moved there
keeps the age it had."""


class LanewayQueue(Construct):
    """One queue and its dead-letter queue; nothing consumes the latter by itself."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        visibility_s: int,
        max_receives: int = MAX_RECEIVES,
    ) -> None:
        super().__init__(scope, construct_id)
        if visibility_s > SQS_VISIBILITY_S_MAX:
            raise SynthError(
                f"{name}: a visibility timeout of {visibility_s} s is more than the "
                f"{SQS_VISIBILITY_S_MAX} s of SQS; give its function a shorter timeout"
            )
        self.dead_letters = _queue(
            self, "DeadLetters", names.dead_letters(name), retention_s=SQS_RETENTION_S_MAX
        )
        acknowledge(
            self.dead_letters,
            rule="Serverless-SQSRedrivePolicy",
            reason="It is the dead-letter queue itself: nothing consumes it, so nothing can fail there.",
        )
        self.queue = _queue(
            self,
            "Queue",
            name,
            retention_s=RETENTION_S,
            visibility_timeout=Duration.seconds(visibility_s),
            dead_letter_queue=sqs.DeadLetterQueue(
                queue=self.dead_letters, max_receive_count=max_receives
            ),
        )


def _queue(
    scope: Construct, construct_id: str, name: str, *, retention_s: int, **more: object
) -> sqs.Queue:
    return sqs.Queue(
        scope,
        construct_id,
        queue_name=name,
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=Duration.seconds(retention_s),
        removal_policy=RemovalPolicy.DESTROY,
        **more,  # type: ignore[arg-type]  # the two callers above name what sqs.Queue takes
    )
