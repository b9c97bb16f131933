"""The pools stack: of each pool a realtime function behind the alias `live`, and workers.

All are deployed from the pool's one package.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from aws_cdk import Annotations, ArnFormat, Stack
from constructs import Construct

from shared.limits import HTTP_API_INTEGRATION_TIMEOUT_S
from shared.schema.tenants import write_limits
from shared.settings import RealtimeSettings
from stacks import names
from stacks.auth import iam_grants
from stacks.parts.fetched_models import FetchedModels
from stacks.parts.function import LanewayFunction, control_layer, runtime_layer
from stacks.parts.limits import allow_counting, allow_reading_limits, looked_up_in
from stacks.parts.permissions import allow
from stacks.parts.queue_worker import (
    BLAS_ON_ONE_THREAD,
    QueueWorker,
    chunk_feeds,
    job_feeds,
    session_budget_mib,
)
from stacks.parts.warm_alias import WarmAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aws_cdk import aws_lambda as lambda_

    from shared.schema.spec import PoolSpec
    from stacks.deployment import Deployment
    from stacks.parts.queue_worker import Feeds
    from stacks.stages import Stage

HANDLER: Final = "functions.realtime.handler.handler"
LAMBDA_AMAZON_LINUX_2023_PYTHON: Final = (3, 12)
"""The first runtime on Amazon Linux 2023 (Lambda's table of runtimes, read 2026-11-21)."""


class PoolsStack(Stack):
    """A function for each lane that a pool's models are in, and none to pay for beside these."""

    def __init__(self, scope: Construct, *, deployment: Deployment) -> None:
        stage = deployment.stage
        super().__init__(
            scope,
            names.stack(stage.name, "pools"),
            description=f"Laneway {stage.name}: the pools, in real time and from queues",
        )
        layers = [
            runtime_layer(self, deployment.assets.onnx_runtime, stage=stage),
            control_layer(self, deployment.assets.control, stage=stage),
        ]
        if not stage.emulated:
            _warn_of_old_system(self)
        for pool, spec in deployment.realtime_pools.items():
            _realtime(self, deployment, pool=pool, spec=spec, layers=layers)
        for pool, feeds in _workers(deployment):
            QueueWorker(
                self,
                feeds.function.removeprefix(f"laneway-{stage.name}-"),
                deployment=deployment,
                pool=pool,
                feeds=feeds,
                layers=layers,
            )


def _workers(deployment: Deployment) -> Iterator[tuple[str, Feeds]]:
    """Of each pool on a cpu: what runs its jobs, unless a fleet does, and what runs its chunks."""
    for pool in deployment.chunk_function_pools:
        if pool in deployment.job_function_pools:
            yield pool, job_feeds(deployment.stage, pool)
        yield pool, chunk_feeds(deployment.stage, pool)


def _realtime(
    stack: PoolsStack,
    deployment: Deployment,
    *,
    pool: str,
    spec: PoolSpec,
    layers: Sequence[lambda_.ILayerVersion],
) -> None:
    stage = deployment.stage
    warm = deployment.warm_of(pool)
    models = FetchedModels(Construct(stack, f"{pool}-realtime-models"), deployment, pool)
    part = LanewayFunction(
        stack,
        f"{pool}-realtime",
        stage=stage,
        name=names.realtime_function(stage.name, pool),
        description=f"Answers realtime requests of pool {pool}",
        handler=HANDLER,
        package=deployment.assets.pools[pool],
        layers=layers,  # realtime loads boto3 for a request that prefers an asynchronous answer
        environment=environment(stage, pool, spec, models_bucket=models.bucket),
        memory_mib=spec.memory_mib,
        disk_mib=models.disk_mib,
        # A run ends after the pool's `timeout_s`; waiting for a job (`Prefer: wait=20`) takes longer.
        timeout_s=HTTP_API_INTEGRATION_TIMEOUT_S,
        snapstart=warm == "snapstart",
    )
    models.allow(part)
    WarmAlias(part, "Live", function=part.function, warm=warm)
    ingress = stack.format_arn(
        service="lambda",
        resource="function",
        resource_name=names.ingress_function(stage.name),
        arn_format=ArnFormat.COLON_RESOURCE_NAME,
    )
    allow(
        part,
        "HandOverToIngress",
        actions=["lambda:InvokeFunction"],
        resources=[ingress],
    )
    allow_counting(part, stack, stage.name)
    if looked_up_in(stage):
        allow_reading_limits(part, stack, stage.name)


def _warn_of_old_system(stack: PoolsStack) -> None:
    """Templates are written all the same: they can be read and checked with any interpreter."""
    if sys.version_info[:2] < LAMBDA_AMAZON_LINUX_2023_PYTHON:
        Annotations.of(stack).add_warning_v2(
            "laneway:python-on-amazon-linux-2",
            "Lambda runs Python 3.11 on Amazon Linux 2 (glibc 2.26), and the wheels of onnxruntime "
            "and numpy need glibc 2.28: the pools would not start on AWS. Deploy from an "
            "environment with Python 3.12 or later.",
        )


def environment(
    stage: Stage, pool: str, spec: PoolSpec, *, models_bucket: str = ""
) -> dict[str, str]:
    """What the pool's function reads, with the thread pools of numpy's BLAS kept to one thread."""
    settings = RealtimeSettings(
        stage=stage.name,
        pool=pool,
        log_level=stage.log_level,
        session_budget_mib=session_budget_mib(spec),
        models_bucket=models_bucket,
        timeout_s=spec.timeout_s,
        ingress_function=names.ingress_function(stage.name),
        usage_table=names.usage_table(stage.name),
        tenant_limits=write_limits(stage.tenant_limits),
        tenants_table=looked_up_in(stage),
        iam_grants=iam_grants(stage.auth),
    )
    return {**settings.to_env(), **BLAS_ON_ONE_THREAD}
