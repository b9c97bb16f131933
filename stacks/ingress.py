"""The ingress stack: the HTTP API, the authorizer, and the function behind `$default`.

A stage that takes signed calls besides keys or tokens has two APIs, with the same routes behind them.
Realtime calls go from the API to their pool's alias with no hop between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import ArnFormat, CfnOutput, Stack
from aws_cdk import aws_lambda as lambda_
from aws_cdk.aws_apigatewayv2_authorizers import HttpIamAuthorizer

from shared.catalog import infer_routes
from shared.limits import HTTP_API_ROUTES
from shared.schema.spec import ProvisionedWarm
from shared.schema.tenants import write_limits
from shared.settings import AuthorizerSettings, PoolAlias
from shared.settings.jobs import IngressSettings
from stacks import names
from stacks.auth import iam_grants, issuers, takes_credentials, takes_keys, takes_signatures
from stacks.errors import SynthError
from stacks.parts.function import LanewayFunction, control_layer, with_plugins_off
from stacks.parts.http_api import LanewayHttpApi, credential_authorizer
from stacks.parts.job_acceptance import allow_accepting_jobs
from stacks.parts.job_resources import JobResources
from stacks.parts.limits import allow_counting, allow_reading_limits, looked_up_in
from stacks.parts.permissions import allow

if TYPE_CHECKING:
    from aws_cdk import aws_dynamodb as dynamodb
    from constructs import Construct

    from stacks.deployment import Deployment
    from stacks.stages import Stage

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
        self.apis = _apis(self, deployment, layer, keys_table)
        self.http, *others = self.apis
        endpoint = _public_url(self.http, deployment)
        # What is told by several APIs is told without a base, which is right on each of them.
        self.public_url = "" if others else endpoint
        ingress = _ingress(self, deployment, layer, self.public_url)
        _route_pools(self, deployment)
        _route_rest(self, ingress.function)
        CfnOutput(self, "Endpoint", value=endpoint, description="Base of every call")
        for other in others:
            CfnOutput(
                self,
                "SignedEndpoint",
                value=_public_url(other, deployment),
                description="Base of every call that is signed (IAM)",
            )


def _apis(
    stack: Stack,
    deployment: Deployment,
    layer: lambda_.ILayerVersion,
    keys_table: dynamodb.ITable,
) -> list[LanewayHttpApi]:
    """For keys and tokens, then for signed calls: one or both, as the stage says."""
    stage = deployment.stage
    apis: list[LanewayHttpApi] = []
    if takes_credentials(stage.auth):
        authorizer = _authorizer(stack, deployment, layer, keys_table)
        checked = credential_authorizer(stage, authorizer.function)
        apis.append(LanewayHttpApi(stack, "Http", stage=stage, authorizer=checked))
    if takes_signatures(stage.auth):
        apis.append(
            LanewayHttpApi(
                stack,
                "SignedHttp",
                stage=stage,
                authorizer=HttpIamAuthorizer(),
                about="-signed",
                access_log=apis[0].access_log if apis else None,
            )
        )
    return apis


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
        keys_table=names.keys_table(stage.name) if takes_keys(stage.auth) else "",
        issuers=issuers(stage.auth),
        tenants_table=names.tenants_table(stage.name),
        tenant_limits=write_limits(stage.tenant_limits),
    )
    part = LanewayFunction(
        stack,
        "Authorizer",
        stage=stage,
        name=names.authorizer_function(stage.name),
        description="Checks keys and tokens",
        handler=AUTHORIZER_HANDLER,
        package=deployment.assets.authorizer,
        layers=[layer],
        environment=with_plugins_off(settings.to_env()),
        memory_mib=_MEMORY_MIB,
        timeout_s=_AUTHORIZER_TIMEOUT_S,
    )
    if takes_keys(stage.auth):
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
        tenants_table=looked_up_in(stage),
        iam_grants=iam_grants(stage.auth),
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
    if looked_up_in(stage):
        allow_reading_limits(part, stack, stage.name)
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
        for http in stack.apis:
            integration = http.integration(f"{pool}-realtime", function)
            for key in realtime_routes(deployment, pool):
                http.route(key, integration)


def _route_rest(stack: IngressStack, ingress: lambda_.IFunction) -> None:
    stage = stack.deployment.stage
    for http in stack.apis:
        integration = http.integration("ingress", ingress)
        http.route("$default", integration)
        for key, reason in _open_routes(stage).items():
            http.route(key, integration, open_because=reason)


def _open_routes(stage: Stage) -> dict[str, str]:
    """The routes that ask for no proof, each with its reason."""
    opened: dict[str, str] = {}
    if stage.open_docs:
        opened |= dict.fromkeys(_DOCS, "The API described, on one's own machine only.")
    if stage.cors_origins:
        opened["OPTIONS /{proxy+}"] = (
            "A browser's preflight carries no key; the gateway answers it by CORS."
        )
    return opened


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
