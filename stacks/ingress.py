"""The ingress stack: the HTTP API, the authorizer, and the function behind `$default`.

Realtime calls go from the API to their pool's alias with no hop between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import ArnFormat, CfnOutput, Stack
from aws_cdk import aws_lambda as lambda_

from shared.catalog import infer_routes
from shared.limits import HTTP_API_ROUTES
from shared.schema.spec import ProvisionedWarm
from shared.schema.tenants import write_limits
from shared.settings import AuthorizerSettings, IngressSettings, PoolAlias
from stacks import names
from stacks.errors import SynthError
from stacks.parts.function import LanewayFunction, control_layer, with_plugins_off
from stacks.parts.http_api import LanewayHttpApi
from stacks.parts.job_acceptance import allow_accepting_jobs
from stacks.parts.job_resources import JobResources
from stacks.parts.limits import allow_counting, allow_reading_limits
from stacks.parts.permissions import allow

if TYPE_CHECKING:
    from aws_cdk import aws_dynamodb as dynamodb
    from constructs import Construct

    from stacks.deployment import Deployment

INGRESS_HANDLER: Final = "functions.ingress.handler.handler"
AUTHORIZER_HANDLER: Final = "functions.authorizer.handler.handler"
_MEMORY_MIB: Final = 512
_INGRESS_TIMEOUT_S: Final = 29
_AUTHORIZER_TIMEOUT_S: Final = 5
_DOCS: Final = ("GET /openapi.json", "GET /docs")


class IngressStack(Stack):
    """Everything that a caller meets before a pool."""

    def __init__(
        self,
        scope: Construct,
        *,
        deployment: Deployment,
        keys_table: dynamodb.ITable,
    ) -> None:
        stage = deployment.stage
        super().__init__(
            scope,
            names.stack(stage.name, "ingress"),
            description=f"Laneway {stage.name}: the HTTP API, keys, and what answers all other calls",
        )
        self.deployment = deployment
        layer = control_layer(self, deployment.assets.control, stage=stage)
        authorizer = _authorizer(self, deployment, layer, keys_table)
        self.http = LanewayHttpApi(self, "Http", stage=stage, authorizer=authorizer.function)
        self.public_url = _public_url(self.http, deployment)
        ingress = _ingress(self, deployment, layer, self.public_url)
        _route_pools(self, deployment)
        _route_rest(self, ingress.function)
        CfnOutput(self, "Endpoint", value=self.public_url, description="Base of every call")


def _authorizer(
    stack: Stack,
    deployment: Deployment,
    layer: lambda_.ILayerVersion,
    keys_table: dynamodb.ITable,
) -> LanewayFunction:
    stage = deployment.stage
    settings = AuthorizerSettings(
        stage=stage.name,
        log_level=stage.log_level,
        keys_table=names.keys_table(stage.name),
        tenants_table=names.tenants_table(stage.name),
        tenant_limits=write_limits(stage.tenant_limits),
    )
    part = LanewayFunction(
        stack,
        "Authorizer",
        stage=stage,
        name=names.authorizer_function(stage.name),
        description="Checks API keys",
        handler=AUTHORIZER_HANDLER,
        package=deployment.assets.authorizer,
        layers=[layer],
        environment=with_plugins_off(settings.to_env()),
        memory_mib=_MEMORY_MIB,
        timeout_s=_AUTHORIZER_TIMEOUT_S,
    )
    keys_table.grant(part.role, "dynamodb:GetItem")
    allow_reading_limits(part, stack, stage.name)
    return part


def _ingress(
    stack: IngressStack, deployment: Deployment, layer: lambda_.ILayerVersion, public_url: str
) -> LanewayFunction:
    stage = deployment.stage
    resources = JobResources(stack, deployment)
    settings = IngressSettings(
        **resources.settings(),
        public_url=public_url,
        pool_aliases=pool_aliases(deployment),
        wakes={
            pool: name for name in resources.scaler_functions for pool in deployment.fleet_pools
        },
        usage_table=names.usage_table(stage.name),
        tenant_limits=write_limits(stage.tenant_limits),
    )
    part = LanewayFunction(
        stack,
        "Ingress",
        stage=stage,
        name=names.ingress_function(stage.name),
        description="Answers every call that is not a realtime inference",
        handler=INGRESS_HANDLER,
        package=deployment.assets.ingress,
        layers=[layer],
        environment=with_plugins_off(settings.to_env()),
        memory_mib=_MEMORY_MIB,
        timeout_s=_INGRESS_TIMEOUT_S,
    )
    aliases = [_alias_arn(stack, stage.name, pool) for pool in settings.pool_aliases]
    allow(
        part,
        "AskPoolsWhetherTheyAreReady",
        actions=["lambda:InvokeFunction", "lambda:GetProvisionedConcurrencyConfig"],
        resources=aliases,
    )
    allow_accepting_jobs(part, resources)
    allow_counting(part, stack, stage.name)
    return part


def pool_aliases(deployment: Deployment) -> dict[str, PoolAlias]:
    """Where each deployed pool answers, as ingress is told."""
    return {
        pool: PoolAlias(
            function=names.realtime_function(deployment.stage.name, pool),
            alias=names.ALIAS,
            provisioned=isinstance(deployment.warm_of(pool), ProvisionedWarm),
        )
        for pool in deployment.realtime_pools
    }


def _route_pools(stack: IngressStack, deployment: Deployment) -> None:
    for pool in pool_aliases(deployment):
        function = lambda_.Function.from_function_attributes(
            stack,
            f"{pool}-realtime",
            function_arn=_alias_arn(stack, deployment.stage.name, pool),
            same_environment=True,
        )
        integration = stack.http.integration(f"{pool}-realtime", function)
        for key in realtime_routes(deployment, pool):
            stack.http.route(key, integration)


def _route_rest(stack: IngressStack, ingress: lambda_.IFunction) -> None:
    stage = stack.deployment.stage
    integration = stack.http.integration("ingress", ingress)
    stack.http.route("$default", integration)
    if stage.open_docs:
        for key in _DOCS:
            stack.http.route(
                key, integration, open_because="The API described, on one's own machine only."
            )
    if stage.cors_origins:
        stack.http.route(
            "OPTIONS /{proxy+}",
            integration,
            open_because="A browser's preflight carries no key; the gateway answers it by CORS.",
        )


def realtime_routes(deployment: Deployment, pool: str) -> list[str]:
    """The routes of a pool's realtime models; raises SynthError when the API would hold too many."""
    every = deployment.realtime_models
    if 2 * len(every) > HTTP_API_ROUTES - len(_DOCS) - 2:
        raise SynthError(
            f"{len(every)} realtime models need {2 * len(every)} routes and an HTTP API takes "
            f"{HTTP_API_ROUTES}; deploy a part of them as another stage with its own folder of "
            "models (-c models=...)"
        )
    return [
        route for entry in every if entry.spec.pool == pool for route in infer_routes(entry.name)
    ]


def _alias_arn(stack: Stack, stage: str, pool: str) -> str:
    """By name and not by export: see docs/decisions/0012-stacks-meet-by-name.md."""
    return stack.format_arn(
        service="lambda",
        resource="function",
        resource_name=f"{names.realtime_function(stage, pool)}:{names.ALIAS}",
        arn_format=ArnFormat.COLON_RESOURCE_NAME,
    )


def _public_url(http: LanewayHttpApi, deployment: Deployment) -> str:
    """The API's own address, or the path form by which the embedded emulator serves it."""
    if deployment.emulator_url is None:
        return http.api.api_endpoint
    return f"{deployment.emulator_url}/_aws/execute-api/{http.api.api_id}"
