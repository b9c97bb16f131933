"""A function as Laneway deploys it: own role, own log group with retention, tracing, layer, limits."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any, Final

from aws_cdk import Duration, RemovalPolicy, Size
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from shared.limits import (
    LAMBDA_DISK_MIB_MIN,
    LAMBDA_ENVIRONMENT_BYTES,
    LAMBDA_NAME_CHARACTERS,
    LAMBDA_SNAPSTART_EPHEMERAL_MIB,
    LAMBDA_SNAPSTART_PYTHON_MIN,
)
from stacks.errors import SynthError
from stacks.parts.acknowledge import acknowledge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stacks.packaging.assets import Asset
    from stacks.stages import Architecture, Stage

_TOKEN: Final = re.compile(r"\$\{Token\[[^]]*\]\}")
_TOKEN_LENGTH: Final = 16
"""Of a region, an account and a domain, or a little less."""
ARCHITECTURES: Final[Mapping[Architecture, lambda_.Architecture]] = {
    "x86_64": lambda_.Architecture.X86_64,
    "arm64": lambda_.Architecture.ARM_64,
}


def python_runtime() -> lambda_.Runtime:
    """Lambda's runtime of the running interpreter's minor version.

    What is tested is what is deployed, and bytecode compiled here is valid there.
    """
    major, minor = sys.version_info[:2]
    runtimes = {
        (3, 11): lambda_.Runtime.PYTHON_3_11,
        (3, 12): lambda_.Runtime.PYTHON_3_12,
        (3, 13): lambda_.Runtime.PYTHON_3_13,
        (3, 14): lambda_.Runtime.PYTHON_3_14,
    }
    if (major, minor) not in runtimes:
        raise SynthError(
            f"Lambda has no runtime for Python {major}.{minor}; make the project's environment "
            "with Python 3.11, 3.12, 3.13 or 3.14 (make setup)"
        )
    return runtimes[major, minor]


def code_of(asset: Asset) -> lambda_.Code:
    """The asset's folder as code; its hash is the digest it was built from."""
    return lambda_.Code.from_asset(str(asset.folder), asset_hash=asset.digest)


def retention(days: int) -> logs.RetentionDays:
    """The retention of this many days; the stage has checked that it is offered."""
    names = {
        1: "ONE_DAY", 3: "THREE_DAYS", 5: "FIVE_DAYS", 7: "ONE_WEEK", 14: "TWO_WEEKS",
        30: "ONE_MONTH", 60: "TWO_MONTHS", 90: "THREE_MONTHS", 120: "FOUR_MONTHS",
        150: "FIVE_MONTHS", 180: "SIX_MONTHS", 365: "ONE_YEAR", 400: "THIRTEEN_MONTHS",
        545: "EIGHTEEN_MONTHS", 731: "TWO_YEARS", 1096: "THREE_YEARS", 1827: "FIVE_YEARS",
        2192: "SIX_YEARS", 2557: "SEVEN_YEARS", 2922: "EIGHT_YEARS", 3288: "NINE_YEARS",
        3653: "TEN_YEARS",
    }  # fmt: skip
    return logs.RetentionDays[names[days]]


def runtime_layer(scope: Construct, asset: Asset, *, stage: Stage) -> lambda_.LayerVersion:
    """What a pool's functions import.

    Each stack has a version of its own: one that others import could never be replaced.
    """
    return _layer(scope, "OnnxRuntime", asset, stage, "numpy, onnxruntime and what pools import")


def control_layer(scope: Construct, asset: Asset, *, stage: Stage) -> lambda_.LayerVersion:
    """What functions import that run no model, and what a worker needs to reach AWS; as above."""
    return _layer(scope, "Control", asset, stage, "boto3, pydantic and Powertools, and no arrays")


def _layer(
    scope: Construct, construct_id: str, asset: Asset, stage: Stage, description: str
) -> lambda_.LayerVersion:
    return lambda_.LayerVersion(
        scope,
        construct_id,
        code=code_of(asset),
        compatible_runtimes=[python_runtime()],
        compatible_architectures=[ARCHITECTURES[stage.architecture]],
        description=description,
    )


def with_plugins_off(environment: Mapping[str, str]) -> dict[str, str]:
    """Pydantic looks for plugins in every installed package at import; there are none."""
    return {**environment, "PYDANTIC_DISABLE_PLUGINS": "__all__"}


class LanewayFunction(Construct):
    """One function; `function` and `role` are its parts."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        stage: Stage,
        name: str,
        description: str,
        handler: str,
        package: Asset,
        layers: Sequence[lambda_.ILayerVersion],
        environment: Mapping[str, str],
        memory_mib: int,
        timeout_s: int,
        snapstart: bool = False,
        disk_mib: int = LAMBDA_DISK_MIB_MIN,
    ) -> None:
        super().__init__(scope, construct_id)
        if snapstart and disk_mib > LAMBDA_SNAPSTART_EPHEMERAL_MIB:
            raise SynthError(
                f"{name}: SnapStart takes {LAMBDA_SNAPSTART_EPHEMERAL_MIB} MiB of disk at most, and the models "
                f"that are fetched from S3 need {disk_mib}; set warm to a range for this pool"
            )
        if snapstart and sys.version_info[:2] < LAMBDA_SNAPSTART_PYTHON_MIN:
            raise SynthError(
                f"{name}: SnapStart needs Python 3.12 or later and this environment runs "
                f"{sys.version_info[0]}.{sys.version_info[1]}; make the environment with a later "
                'one, or set warm = "on-demand" or a range'
            )
        if len(name) > LAMBDA_NAME_CHARACTERS:
            raise SynthError(
                f"the function's name {name!r} has {len(name)} characters and Lambda takes "
                f"{LAMBDA_NAME_CHARACTERS}; give the pool or the stage a shorter name"
            )
        _refuse_large(name, environment)
        self.log_group = _log_group(self, name, stage)
        self.role = _role(self, self.log_group, name)
        self.function = lambda_.Function(
            self,
            "Function",
            function_name=name,
            description=description,
            runtime=python_runtime(),
            architecture=ARCHITECTURES[stage.architecture],
            handler=handler,
            code=code_of(package),
            layers=list(layers),
            environment=dict(environment),
            memory_size=memory_mib,
            **_disk(disk_mib),
            timeout=Duration.seconds(timeout_s),
            role=self.role,
            log_group=self.log_group,
            tracing=lambda_.Tracing.ACTIVE if stage.tracing else lambda_.Tracing.DISABLED,
            **_snapstart(snapstart),
        )
        _acknowledge(self, stage)


def _refuse_large(name: str, environment: Mapping[str, str]) -> None:
    size_bytes = environment_bytes(environment)
    if size_bytes > LAMBDA_ENVIRONMENT_BYTES:
        raise SynthError(
            f"{name}: its environment has {size_bytes} bytes and Lambda takes "
            f"{LAMBDA_ENVIRONMENT_BYTES}. What grows are the names of pools and of the models that run "
            "jobs: join pools, give models shorter names, or deploy a part of them as another stage "
            "with its own folder of models (-c models=...)"
        )


def environment_bytes(environment: Mapping[str, str]) -> int:
    """What Lambda will measure, which is the environment as JSON; what only the deployment knows is guessed."""
    known = _TOKEN.sub("x" * _TOKEN_LENGTH, json.dumps(dict(environment), separators=(",", ":")))
    return len(known.encode())


def _snapstart(snapstart: bool) -> dict[str, Any]:  # noqa: FBT001 - private, one argument
    return {"snap_start": lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS} if snapstart else {}


def _disk(disk_mib: int) -> dict[str, Any]:
    if disk_mib == LAMBDA_DISK_MIB_MIN:
        return {}
    return {"ephemeral_storage_size": Size.mebibytes(disk_mib)}


def _log_group(scope: Construct, name: str, stage: Stage) -> logs.LogGroup:
    return logs.LogGroup(
        scope,
        "Logs",
        log_group_name=f"/aws/lambda/{name}",
        retention=retention(stage.retention.logs_days),
        removal_policy=RemovalPolicy.DESTROY,
    )


def _role(scope: Construct, log_group: logs.LogGroup, name: str) -> iam.Role:
    role = iam.Role(
        scope,
        "Role",
        assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        description=f"What {name} may do",
    )
    log_group.grant_write(role)
    return role


def _acknowledge(function: LanewayFunction, stage: Stage) -> None:
    acknowledge(
        function,
        rule="Serverless-LambdaLatestVersion",
        reason="As AwsSolutions-L1: the runtime is the minor version of the interpreter that the project is "
        "tested on.",
    )
    acknowledge(
        function,
        rule="Serverless-LambdaDLQ",
        reason="It concerns asynchronous invocations. Functions are called by the gateway, by each other or by "
        "queues, which have dead-letter queues of their own; those that a clock starts look again a minute later.",
    )
    acknowledge(
        function,
        rule="AwsSolutions-L1",
        reason="The runtime is the minor version of the interpreter that the project is tested on, "
        "and its bytecode is in the package; a later one comes with a later environment.",
    )
    if stage.tracing:
        acknowledge(
            function.role,
            rule="AwsSolutions-IAM5[Resource::*]",
            reason="xray:PutTraceSegments and PutTelemetryRecords have no resource to name; "
            "the service offers * only.",
        )
