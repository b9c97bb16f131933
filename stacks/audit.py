"""The audit stack: where records are kept, and what makes a deployment one of them.

Records are lines of the stage's logs. Every log group of the stage is subscribed to, so that none made
later is forgotten; what is not a record stays where it is. The embedded emulator delivers nothing to
Firehose: there the log groups are all there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import App, CfnOutput, CustomResource, Duration, RemovalPolicy, Stack, Token
from aws_cdk import aws_logs as logs

from shared.catalog import parse_catalog
from shared.repository import compile_catalog
from stacks import names
from stacks.parts.audit_archive import AuditArchive
from stacks.parts.function import LanewayFunction, retention

if TYPE_CHECKING:
    from stacks.deployment import Deployment

DEPLOYMENTS_HANDLER: Final = "functions.deployments.handler.handler"
RECORDS: Final = '{ $.audit = "*" }'
"""Lines of ours that are records."""
REFUSED_BY_GATEWAY: Final = (
    '{ $.integration_status = "-" && ($.status = "401" || $.status = "403" || $.status = "429") }'
)
"""Calls that reached no function; one that did has a record there."""
_MEMORY_MIB: Final = 128
_TIMEOUT_S: Final = 30


class AuditStack(Stack):
    """Deployed last, since it looks at the log groups of all others."""

    def __init__(self, app: App, *, deployment: Deployment) -> None:
        stage = deployment.stage
        others = _log_groups(app)
        super().__init__(
            app,
            names.stack(stage.name, "audit"),
            description=f"Laneway {stage.name}: the record of who did what",
        )
        own = logs.LogGroup(
            self,
            "Log",
            log_group_name=names.audit_log_group(stage.name),
            retention=retention(stage.retention.audit_days),
            removal_policy=RemovalPolicy.DESTROY,
        )
        function = _deployments(self, deployment)
        if stage.emulated:
            return
        archive = AuditArchive(self, "Archive", stage=stage)
        for name in others:
            pattern = REFUSED_BY_GATEWAY if name == names.access_log_group(stage.name) else RECORDS
            archive.subscribe(name, log_group=name, pattern=pattern)
        archive.subscribe("audit", log_group=own.log_group_name, pattern=RECORDS)
        archive.subscribe(
            "deployments", log_group=function.log_group.log_group_name, pattern=RECORDS
        )
        CfnOutput(
            self, "ArchiveBucket", value=archive.bucket.bucket_name, description="Holds all records"
        )


def _log_groups(app: App) -> list[str]:
    """Names of the log groups of every stack so far; those of the CDK's own functions have none."""
    named = [
        construct.log_group_name
        for construct in app.node.find_all()
        if isinstance(construct, logs.CfnLogGroup)
    ]
    return sorted(name for name in named if name and not Token.is_unresolved(name))


def _deployments(stack: AuditStack, deployment: Deployment) -> LanewayFunction:
    """The function that is told of served versions, and the resource whose change tells it."""
    stage = deployment.stage
    part = LanewayFunction(
        stack,
        "Deployments",
        stage=stage,
        name=names.deployments_function(stage.name),
        description="Records which versions of models a deployment serves",
        handler=DEPLOYMENTS_HANDLER,
        package=deployment.assets.deployments,
        layers=[],
        environment={},
        memory_mib=_MEMORY_MIB,
        timeout_s=_TIMEOUT_S,
    )
    served = CustomResource(
        stack,
        "Served",
        resource_type="Custom::LanewayServedModels",
        service_token=part.function.function_arn,
        service_timeout=Duration.seconds(2 * _TIMEOUT_S),
        properties={"Served": served_versions(deployment)},
    )
    served.node.add_dependency(part)  # its log group and its role's policy included
    return part


def served_versions(deployment: Deployment) -> list[str]:
    """Model, version and digest of all that the stage serves, in realtime or from queues."""
    entries = (*deployment.realtime_models, *deployment.queued_models)
    served = {entry.name for entry in entries}
    digests = parse_catalog(compile_catalog(deployment.repository)).digests()
    return sorted(
        f"{model} {version} {digest}"
        for (model, version), digest in digests.items()
        if model in served
    )
