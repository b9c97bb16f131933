"""The queue lane's table, bucket and queues as other stacks find them: by name, without exports.

See docs/decisions/0012-stacks-meet-by-name.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aws_cdk import ArnFormat, Aws, Stack

from stacks import names
from stacks.queue_lane import CLASSES

if TYPE_CHECKING:
    from collections.abc import Callable

    from stacks.deployment import Deployment

CHUNKS: Final = "chunks"
"""What is delivered from a pool's third queue, of which a batch is made."""
_OWN_MACHINE: Final = "127.0.0.1:*,localhost:*"


class JobResources:
    """Names, ARNs and URLs, as tokens of the stack that uses them."""

    def __init__(self, stack: Stack, deployment: Deployment) -> None:
        self._stack = stack
        self._deployment = deployment
        self.stage = deployment.stage

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return names.bucket(self.stage.name, account=Aws.ACCOUNT_ID, region=Aws.REGION)

    def objects(self, *prefixes: str) -> list[str]:
        """ARNs of all objects below prefixes of the bucket, each with its last slash."""
        return [f"arn:{Aws.PARTITION}:s3:::{self.bucket}/{prefix}*" for prefix in prefixes]

    @property
    def bucket_arn(self) -> str:
        """ARN of the bucket."""
        return f"arn:{Aws.PARTITION}:s3:::{self.bucket}"

    def table_arn(self, *, index: str | None = None) -> str:
        """ARN of the jobs table, or of one of its indexes."""
        return self._table_arn(names.jobs_table(self.stage.name), index)

    def batches_arn(self, *, index: str | None = None) -> str:
        """ARN of the batches table, or of one of its indexes."""
        return self._table_arn(names.batches_table(self.stage.name), index)

    def _table_arn(self, table: str, index: str | None) -> str:
        return self._stack.format_arn(
            service="dynamodb",
            resource="table",
            resource_name=table if index is None else f"{table}/index/{index}",
        )

    def function_arn(self, name: str) -> str:
        """ARN of a function."""
        return self._stack.format_arn(
            service="lambda",
            resource="function",
            resource_name=name,
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )

    def queue_arn(self, name: str) -> str:
        """ARN of a queue."""
        return self._stack.format_arn(
            service="sqs", resource=name, arn_format=ArnFormat.NO_RESOURCE_NAME
        )

    def queue_url(self, name: str) -> str:
        """URL of a queue, at Amazon's address or at the embedded emulator's."""
        base = self._deployment.emulator_url or f"https://sqs.{Aws.REGION}.{Aws.URL_SUFFIX}"
        return f"{base}/{Aws.ACCOUNT_ID}/{name}"

    def pool_queues(self, pool: str) -> dict[str, str]:
        """Names of a pool's queues: those of jobs, in the order of their service, and `chunks`."""
        kinds = (*self._deployment.job_queues(pool), CHUNKS)
        return {kind: names.pool_queue(self.stage.name, pool, kind) for kind in kinds}

    @property
    def send_functions(self) -> list[str]:
        """As the deployment has them."""
        return self._deployment.send_functions

    @property
    def scaler_functions(self) -> list[str]:
        """As the deployment has them."""
        return self._deployment.scaler_functions

    @property
    def job_queue_arns(self) -> list[str]:
        """ARNs of all pools' queues of jobs; none where RabbitMQ carries them."""
        if self.stage.broker != "sqs":
            return []
        return self._pool_queue_arns(self._deployment.job_queues)

    def job_queue_arns_beside(self, pool: str) -> list[str]:
        """ARNs of other pools' queues to which a message of this pool's may be forwarded."""
        if self.stage.broker != "sqs":
            return []
        kinds = self._deployment.job_queues(pool)
        return [
            self.queue_arn(names.pool_queue(self.stage.name, other, kind))
            for other in self._deployment.queue_pools
            for kind in self._deployment.job_queues(other)
            if other != pool and kind in kinds
        ]

    @property
    def chunk_queue_arns(self) -> list[str]:
        """ARNs of all pools' queues of chunks."""
        return self._pool_queue_arns(lambda _: (CHUNKS,))

    def _pool_queue_arns(self, kinds: Callable[[str], tuple[str, ...]]) -> list[str]:
        return [
            self.queue_arn(names.pool_queue(self.stage.name, pool, kind))
            for pool in self._deployment.queue_pools
            for kind in kinds(pool)
        ]

    def sqs_queues(self, pool: str) -> dict[str, str]:
        """Those of the pool's queues that are on SQS."""
        on_sqs = self.stage.broker == "sqs"
        found = self.pool_queues(pool)
        return {kind: name for kind, name in found.items() if on_sqs or kind == CHUNKS}

    def dead_letters(self, pool: str) -> dict[str, str]:
        """URLs of the dead-letter queues of the pool's queues on SQS."""
        return {
            kind: self.queue_url(names.dead_letters(name))
            for kind, name in self.sqs_queues(pool).items()
        }

    def queue_addresses(self, pool: str) -> dict[str, str]:
        """Where the pool's queues are: URLs of SQS, plain names where RabbitMQ carries jobs."""
        on_sqs = self.sqs_queues(pool)
        return {
            kind: self.queue_url(name) if kind in on_sqs else name
            for kind, name in self.pool_queues(pool).items()
        }

    @property
    def webhook_loopback(self) -> str:
        """Receivers of webhooks on the functions' own machine: on one's own, any port of it."""
        return _OWN_MACHINE if self.stage.emulated else ""

    def settings(self) -> dict[str, Any]:
        """The members of `JobSettings`, the same for every function that deals with jobs."""
        lane = self.stage.queue_lane
        at = {kind: lane.deliveries[kind] for kind in CLASSES}
        return {
            "stage": self.stage.name,
            "log_level": self.stage.log_level,
            "jobs_table": names.jobs_table(self.stage.name),
            "bucket": self.bucket,
            "queues": {pool: self.queue_addresses(pool) for pool in self._deployment.queue_pools},
            "broker": self.stage.broker,
            "send_function": "".join(self.send_functions),
            "input_places": {tenant: list(found) for tenant, found in lane.input_places.items()},
            "result_aliases": dict(lane.result_aliases),
            "async_target_s": at["async"].target_s,
            "batch_target_s": at["batch"].target_s,
            "start_s": self._deployment.start_s,
            "async_ttl_s": at["async"].ttl_s,
            "batch_ttl_s": at["batch"].ttl_s,
            "job_timeout_s": lane.worker_timeout_s,
            "job_retention_s": self.stage.retention.jobs_s,
            "webhook_loopback": self.webhook_loopback,
            "batches_table": names.batches_table(self.stage.name),
            "split_queue": self.queue_url(names.split_queue(self.stage.name)),
            "finish_queue": self.queue_url(names.finish_queue(self.stage.name)),
        }
