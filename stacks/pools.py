"""The pools stack: one function per pool behind the alias `live`, on the onnx_runtime layer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from aws_cdk import Annotations, Stack
from aws_cdk import aws_lambda as lambda_

from shared.settings import RealtimeSettings
from stacks import names
from stacks.parts.function import ARCHITECTURES, LanewayFunction, code_of, python_runtime
from stacks.parts.warm_alias import WarmAlias

if TYPE_CHECKING:
    from constructs import Construct

    from shared.schema.spec import PoolSpec
    from stacks.deployment import Deployment
    from stacks.stages import Stage

HANDLER: Final = "functions.realtime.handler.handler"
LAMBDA_AMAZON_LINUX_2023_PYTHON: Final = (3, 12)
"""The first runtime on Amazon Linux 2023 (Lambda's table of runtimes, read 2026-11-21)."""
_SESSION_SHARE: Final = 0.5
"""Of a function's memory: model files whose sessions are kept; the rest is for arenas, requests and Python."""


class PoolsStack(Stack):
    """Every pool that has a realtime model."""

    def __init__(self, scope: Construct, *, deployment: Deployment) -> None:
        stage = deployment.stage
        super().__init__(
            scope,
            names.stack(stage.name, "pools"),
            description=f"Laneway {stage.name}: the pools that answer in real time",
        )
        layer = lambda_.LayerVersion(
            self,
            "OnnxRuntime",
            code=code_of(deployment.assets.onnx_runtime),
            compatible_runtimes=[python_runtime()],
            compatible_architectures=[ARCHITECTURES[stage.architecture]],
            description="numpy, onnxruntime and what the realtime path imports",
        )
        if not stage.emulated:
            _warn_of_old_system(self)
        for pool, spec in deployment.realtime_pools.items():
            _pool(self, deployment, pool=pool, spec=spec, layer=layer)


def _pool(
    stack: PoolsStack,
    deployment: Deployment,
    *,
    pool: str,
    spec: PoolSpec,
    layer: lambda_.LayerVersion,
) -> None:
    stage = deployment.stage
    warm = deployment.warm_of(pool)
    part = LanewayFunction(
        stack,
        f"{pool}-realtime",
        stage=stage,
        name=names.realtime_function(stage.name, pool),
        description=f"Answers realtime requests of pool {pool}",
        handler=HANDLER,
        package=deployment.assets.pools[pool],
        layer=layer,
        environment=environment(stage, pool, spec),
        memory_mib=spec.memory_mib,
        timeout_s=spec.timeout_s,
        snapstart=warm == "snapstart",
    )
    WarmAlias(part, "Live", function=part.function, warm=warm)


def _warn_of_old_system(stack: PoolsStack) -> None:
    """Templates are written all the same: they can be read and checked with any interpreter."""
    if sys.version_info[:2] < LAMBDA_AMAZON_LINUX_2023_PYTHON:
        Annotations.of(stack).add_warning_v2(
            "laneway:python-on-amazon-linux-2",
            "Lambda runs Python 3.11 on Amazon Linux 2 (glibc 2.26), and the wheels of onnxruntime "
            "and numpy need glibc 2.28: the pools would not start on AWS. Deploy from an "
            "environment with Python 3.12 or later.",
        )


def environment(stage: Stage, pool: str, spec: PoolSpec) -> dict[str, str]:
    """What the pool's function reads, with the thread pools of numpy's BLAS kept to one thread."""
    settings = RealtimeSettings(
        stage=stage.name,
        pool=pool,
        log_level=stage.log_level,
        session_budget_mib=int(spec.memory_mib * _SESSION_SHARE),
    )
    return {**settings.to_env(), "OPENBLAS_NUM_THREADS": "1"}
