"""An HTTP API with its stage: access log, throttling, CORS, and routes that ask for a proof."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import jsii
from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_apigatewayv2 as apigw
from aws_cdk import aws_logs as logs
from aws_cdk.aws_apigateway import AccessLogFormat
from aws_cdk.aws_apigatewayv2_authorizers import HttpLambdaAuthorizer, HttpLambdaResponseType
from aws_cdk.aws_apigatewayv2_integrations import HttpLambdaIntegration
from constructs import Construct

from shared.keys import API_KEY_HEADER
from shared.limits import HTTP_API_INTEGRATION_TIMEOUT_S
from stacks import names
from stacks.auth import issuers
from stacks.parts.acknowledge import acknowledge
from stacks.parts.function import retention

if TYPE_CHECKING:
    from aws_cdk import aws_lambda as lambda_

    from stacks.stages import Stage

ACCESS_LOG: Final = {
    "request_id": "$context.requestId",
    "at": "$context.requestTimeEpoch",
    "ip": "$context.identity.sourceIp",
    "method": "$context.httpMethod",
    "route": "$context.routeKey",
    "status": "$context.status",
    "response_bytes": "$context.responseLength",
    "latency_ms": "$context.responseLatency",
    "integration_latency_ms": "$context.integrationLatency",
    "integration_status": "$context.integrationStatus",
    "authorizer_error": "$context.authorizer.error",
    "error": "$context.error.message",
    "integration_error": "$context.integrationErrorMessage",
    "tenant": "$context.authorizer.tenant",
    "principal": "$context.authorizer.principal",
    "iam_caller": "$context.identity.userArn",
}
"""One JSON line a request; never a key, a header, a body, or an address as it was called: people put things there."""


def credential_authorizer(stage: Stage, function: lambda_.IFunction) -> HttpLambdaAuthorizer:
    """Asks our function; its verdict is kept by the one header that it looks at, and is by nothing else.

    A gateway answers 401 by itself where any of several sources is absent, so a stage that takes tokens
    takes keys in the same header.
    """
    header = "authorization" if issuers(stage.auth) else API_KEY_HEADER
    return HttpLambdaAuthorizer(
        "ApiKey",
        function,
        authorizer_name="credential",
        identity_source=[f"$request.header.{header}"],
        response_types=[HttpLambdaResponseType.SIMPLE],
        results_cache_ttl=Duration.seconds(stage.authorizer_cache_s),
    )


class LanewayHttpApi(Construct):
    """One API; `route` adds a route that asks for a proof unless it is said to be open.

    `about` tells APIs of a stage apart; `access_log`: another's, None: one of its own.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        stage: Stage,
        authorizer: apigw.IHttpRouteAuthorizer,
        about: str = "",
        access_log: logs.LogGroup | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        self.api = apigw.HttpApi(
            self,
            "Api",
            api_name=f"{names.http_api(stage.name)}{about}",
            description=f"Laneway {stage.name}: Open Inference Protocol",
            create_default_stage=False,
            cors_preflight=_cors(stage),
        )
        self.access_log = access_log or _access_log(self, stage)
        self.stage = apigw.HttpStage(
            self,
            "Default",
            http_api=self.api,
            stage_name="$default",
            auto_deploy=True,
            detailed_metrics_enabled=True,
            throttle=apigw.ThrottleSettings(
                rate_limit=stage.throttle_rate_per_s, burst_limit=stage.throttle_burst
            ),
            access_log_settings=_JsonAccessLog(self.access_log),
        )
        self._authorizer = authorizer

    def integration(self, construct_id: str, function: lambda_.IFunction) -> HttpLambdaIntegration:
        """The function as a target, with one permission for the whole API."""
        return HttpLambdaIntegration(
            construct_id,
            function,
            payload_format_version=apigw.PayloadFormatVersion.VERSION_2_0,
            scope_permission_to_route=False,
            timeout=Duration.seconds(HTTP_API_INTEGRATION_TIMEOUT_S),
        )

    def route(
        self, key: str, integration: HttpLambdaIntegration, *, open_because: str = ""
    ) -> None:
        """Add a route such as `POST /v2/models/a/infer` or `$default`.

        `open_because`: the reason why this route asks for no proof; empty: it asks for one.
        """
        route = apigw.HttpRoute(
            self,
            f"Route {key}".replace("/", "|"),
            http_api=self.api,
            route_key=_route_key(key),
            integration=integration,
            authorizer=apigw.HttpNoneAuthorizer() if open_because else self._authorizer,
        )
        if open_because:
            acknowledge(route, rule="AwsSolutions-APIG4", reason=open_because)


def _route_key(key: str) -> apigw.HttpRouteKey:
    if key == "$default":
        return apigw.HttpRouteKey.DEFAULT
    method, path = key.split(" ")
    return apigw.HttpRouteKey.with_(path, apigw.HttpMethod[method])


def _cors(stage: Stage) -> apigw.CorsPreflightOptions | None:
    if not stage.cors_origins:
        return None
    return apigw.CorsPreflightOptions(
        allow_origins=list(stage.cors_origins),
        allow_methods=[
            apigw.CorsHttpMethod.GET,
            apigw.CorsHttpMethod.POST,
            apigw.CorsHttpMethod.PUT,
        ],
        allow_headers=[
            API_KEY_HEADER,
            "authorization",
            "content-encoding",
            "content-type",
            "idempotency-key",
            "inference-header-content-length",
            "prefer",
        ],
        expose_headers=[
            "inference-header-content-length",
            "location",
            "preference-applied",
            "ratelimit",
            "ratelimit-policy",
            "retry-after",
        ],
        max_age=Duration.hours(1),
    )


def _access_log(scope: Construct, stage: Stage) -> logs.LogGroup:
    return logs.LogGroup(
        scope,
        "AccessLog",
        log_group_name=names.access_log_group(stage.name),
        retention=retention(stage.retention.logs_days),
        removal_policy=RemovalPolicy.DESTROY,
    )


@jsii.implements(apigw.IAccessLogSettings)
class _JsonAccessLog:
    """One JSON line a request, to a log group."""

    def __init__(self, log_group: logs.LogGroup) -> None:
        self._destination = apigw.LogGroupLogDestination(log_group)

    @property
    def destination(self) -> apigw.IAccessLogDestination:
        """The log group."""
        return self._destination

    @property
    def format(self) -> AccessLogFormat:
        """The members of `ACCESS_LOG`."""
        return AccessLogFormat.custom(json.dumps(ACCESS_LOG))
