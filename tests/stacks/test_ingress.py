"""What a caller meets: routes, who may pass, how much, and what is written down about it."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import pytest

from shared.limits import HTTP_API_ROUTES
from shared.settings import AuthorizerSettings
from shared.settings.jobs import IngressSettings
from stacks.errors import SynthError
from stacks.stages import DEV, STAGES
from tests.stacks.aws_words import resolved

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Synthesized

    from shared.repository import Repository

OPEN_DOCS = {"GET /openapi.json", "GET /docs"}
PREFLIGHT = "OPTIONS /{proxy+}"


def routes(synthesized: Synthesized) -> dict[str, dict]:
    return {
        route["RouteKey"]: route for route in synthesized.properties("AWS::ApiGatewayV2::Route")
    }


def test_every_route_of_prod_asks_for_a_key(prod) -> None:
    assert {route["AuthorizationType"] for route in routes(prod).values()} == {"CUSTOM"}


def test_every_route_of_dev_asks_for_a_key_but_the_browsers_preflight(dev) -> None:
    opened = {key for key, route in routes(dev).items() if route["AuthorizationType"] == "NONE"}

    assert opened == {PREFLIGHT}


def test_the_local_stage_opens_the_docs_besides(local) -> None:
    opened = {key for key, route in routes(local).items() if route["AuthorizationType"] == "NONE"}

    assert opened == {PREFLIGHT, *OPEN_DOCS}


def test_realtime_models_have_routes_of_their_own_and_all_else_is_ingress(prod) -> None:
    assert set(routes(prod)) == {
        "$default",
        "POST /v2/models/iris/infer",
        "POST /v2/models/iris/versions/{version}/infer",
        "POST /v2/models/text/infer",
        "POST /v2/models/text/versions/{version}/infer",
    }


def test_realtime_routes_lead_to_the_live_alias_of_the_models_pool(prod) -> None:
    integrations = prod.resources("AWS::ApiGatewayV2::Integration")
    for model, pool in (("iris", "shared"), ("text", "hot")):
        target = json.dumps(routes(prod)[f"POST /v2/models/{model}/infer"]["Target"])
        (uri,) = [
            json.dumps(integration["Properties"]["IntegrationUri"])
            for name, integration in integrations.items()
            if f'"{name}"' in target
        ]
        assert f":function:laneway-prod-{pool}-realtime:live" in uri


def test_a_pool_gets_one_permission_for_the_whole_api(prod) -> None:
    permissions = [
        json.dumps(permission) for permission in prod.properties("AWS::Lambda::Permission")
    ]

    at_the_gateway = [text for text in permissions if "apigateway.amazonaws.com" in text]
    assert len(at_the_gateway) == 4  # shared, hot, ingress, authorizer
    assert sum("laneway-prod-hot-realtime:live" in text for text in permissions) == 1


def test_the_authorizer_is_asked_by_the_key_alone_and_its_verdict_is_short_lived(prod) -> None:
    (authorizer,) = prod.properties("AWS::ApiGatewayV2::Authorizer")

    assert authorizer["AuthorizerType"] == "REQUEST"
    assert authorizer["IdentitySource"] == ["$request.header.x-api-key"]
    assert authorizer["EnableSimpleResponses"] is True
    assert 0 < authorizer["AuthorizerResultTtlInSeconds"] <= 60


def test_the_gateway_throttles_as_the_stage_says_and_writes_an_access_log(every_stage) -> None:
    (stage,) = every_stage.properties("AWS::ApiGatewayV2::Stage")

    settings = stage["DefaultRouteSettings"]
    assert settings["ThrottlingRateLimit"] == every_stage.stage.throttle_rate_per_s
    assert settings["ThrottlingBurstLimit"] == every_stage.stage.throttle_burst
    logged = json.loads(stage["AccessLogSettings"]["Format"])
    assert {"request_id", "route", "status", "latency_ms", "tenant"} <= logged.keys()
    assert "x-api-key" not in stage["AccessLogSettings"]["Format"]


def test_web_pages_may_call_from_the_stages_origins_only(dev, prod) -> None:
    (dev_api,) = dev.properties("AWS::ApiGatewayV2::Api")
    (prod_api,) = prod.properties("AWS::ApiGatewayV2::Api")

    assert dev_api["CorsConfiguration"]["AllowOrigins"] == list(DEV.cors_origins)
    told = {"retry-after", "ratelimit", "ratelimit-policy", "location", "preference-applied"}
    assert told <= set(dev_api["CorsConfiguration"]["ExposeHeaders"])
    assert "CorsConfiguration" not in prod_api


def test_functions_read_back_the_environment_that_synthesis_wrote(prod) -> None:
    environments = {
        function["FunctionName"]: resolved(function["Environment"]["Variables"])
        for function in prod.properties("AWS::Lambda::Function")
        if "Environment" in function
    }

    authorizer = AuthorizerSettings.from_env(environments["laneway-prod-authorizer"])
    ingress = IngressSettings.from_env(
        {**environments["laneway-prod-ingress"], "PUBLIC_URL": "https://example.org"}
    )
    assert authorizer.keys_table == "laneway-prod-keys"
    assert ingress.pool_aliases["hot"].function == "laneway-prod-hot-realtime"
    assert all(alias.provisioned for alias in ingress.pool_aliases.values())


def test_the_public_address_is_the_emulators_path_form_locally(local, prod) -> None:
    local_url = json.dumps(local.templates["ingress"]["Outputs"]["Endpoint"]["Value"])
    prod_url = json.dumps(prod.templates["ingress"]["Outputs"]["Endpoint"]["Value"])

    assert "http://127.0.0.1:4566/_aws/execute-api/" in local_url
    assert "ApiEndpoint" in prod_url


def test_more_models_than_the_api_has_routes_for_are_refused(
    synthesize: Callable[..., Synthesized], repository
) -> None:
    model = repository.models["iris"]
    many = {
        f"m{number}": dataclasses.replace(model, name=f"m{number}")
        for number in range(HTTP_API_ROUTES // 2)
    }

    with pytest.raises(SynthError, match=r"150 realtime models need 300 routes.*-c models="):
        synthesize(STAGES["prod"], repository=dataclasses.replace(repository, models=many))


def test_a_repository_of_which_no_model_answers_at_once_is_synthesized(
    synthesize: Callable[..., Synthesized], with_gpu: Repository
) -> None:
    heavy = {"heavy": with_gpu.models["heavy"]}
    made = synthesize(DEV, repository=dataclasses.replace(with_gpu, models=heavy))

    assert not [key for key in routes(made) if "infer" in key]
    assert "$default" in routes(made)
