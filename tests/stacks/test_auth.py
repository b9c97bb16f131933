"""How callers prove who they are, as it is deployed: one mode, another, and all at once.

The emulator knows neither the gateway's own check of signatures nor its other authorizers: what the
gateway is told stands here.
"""

from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING

import pytest

from shared.settings import AuthorizerSettings, RealtimeSettings
from shared.settings.jobs import IngressSettings
from stacks.auth import ApiKeys, Iam, Tokens
from stacks.errors import StageError
from stacks.stages import DEV
from tests.stacks.aws_words import resolved

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Synthesized

TOKENS = Tokens(
    issuer="https://issuer.example",
    jwks_url="https://issuer.example/keys",
    audiences=("laneway",),
    tenant_claim="tenant",
)
SECOND = dataclasses.replace(TOKENS, issuer="https://second.example", tenant_claim="org")
GRANTS = {"role/batch-*": "submit read", "user/ann": "infer:breast-cancer"}
SIGNED = Iam(grants=GRANTS)
SEVERAL = (ApiKeys(), TOKENS, SECOND, SIGNED)
OPEN = "OPTIONS /{proxy+}"


@pytest.fixture(scope="module")
def made(synthesize: Callable[..., Synthesized], dev: Synthesized):
    """Synthesizes the stage `dev` with these modes, each set once."""
    kept: dict[tuple, Synthesized] = {DEV.auth: dev}

    def of(*modes) -> Synthesized:
        if modes not in kept:
            kept[modes] = synthesize(dataclasses.replace(DEV, auth=modes))
        return kept[modes]

    return of


def environment(made: Synthesized, function: str) -> dict[str, str]:
    (found,) = (
        item
        for item in made.properties("AWS::Lambda::Function")
        if item.get("FunctionName") == f"laneway-dev-{function}"
    )
    return resolved(found["Environment"]["Variables"])


def by_api(made: Synthesized) -> dict[str, dict[str, str]]:
    """How each route of each API is guarded: by the API's name, then by the route's key."""
    names = {
        resource_id: resource["Properties"]["Name"]
        for resource_id, resource in made.resources("AWS::ApiGatewayV2::Api").items()
    }
    guarded: dict[str, dict[str, str]] = {name: {} for name in names.values()}
    for route in made.properties("AWS::ApiGatewayV2::Route"):
        api = names[route["ApiId"]["Ref"]]
        guarded[api][route["RouteKey"]] = route["AuthorizationType"]
    return guarded


@pytest.mark.parametrize("modes", [(ApiKeys(),), (TOKENS,), (SIGNED,), SEVERAL])
def test_no_route_is_open_but_a_browsers_preflight(made, modes) -> None:
    for routes in by_api(made(*modes)).values():
        assert "$default" in routes
        assert {key for key, kind in routes.items() if kind == "NONE"} == {OPEN}


@pytest.mark.parametrize(
    ("modes", "header"),
    [
        ((ApiKeys(),), "x-api-key"),
        ((TOKENS,), "authorization"),
        (SEVERAL, "authorization"),
    ],
)
def test_a_verdict_is_kept_by_the_one_header_that_it_depends_on(made, modes, header) -> None:
    (authorizer,) = made(*modes).properties("AWS::ApiGatewayV2::Authorizer")
    assert authorizer["IdentitySource"] == [f"$request.header.{header}"]
    assert authorizer["AuthorizerResultTtlInSeconds"] == DEV.authorizer_cache_s
    told = AuthorizerSettings.from_env(environment(made(*modes), "authorizer"))
    assert bool(told.issuers) is (header == "authorization")


def test_the_authorizer_is_told_every_issuer_and_whether_keys_are_taken(made) -> None:
    both = AuthorizerSettings.from_env(environment(made(*SEVERAL), "authorizer"))
    assert both.keys_table == "laneway-dev-keys"
    assert [(item.issuer, item.tenant_claim) for item in both.issuers] == [
        ("https://issuer.example", "tenant"),
        ("https://second.example", "org"),
    ]
    alone = AuthorizerSettings.from_env(environment(made(TOKENS), "authorizer"))
    assert alone.keys_table == ""


def test_a_stage_without_keys_gives_nobody_the_right_to_look_them_up(made) -> None:
    def may_look(*modes) -> bool:
        roles = made(*modes).resources("AWS::IAM::Policy")
        policies = [json.dumps(item) for name, item in roles.items() if "Authorizer" in name]
        assert policies
        return any("Keys" in text and "dynamodb:GetItem" in text for text in policies)

    assert may_look(*SEVERAL)
    assert not may_look(TOKENS)


def test_signed_calls_are_checked_by_the_gateway_itself(made) -> None:
    signed = made(SIGNED)
    (routes,) = by_api(signed).values()
    assert {kind for key, kind in routes.items() if key != OPEN} == {"AWS_IAM"}
    assert signed.properties("AWS::ApiGatewayV2::Authorizer") == []
    functions = {item.get("FunctionName") for item in signed.properties("AWS::Lambda::Function")}
    assert "laneway-dev-authorizer" not in functions


@pytest.mark.parametrize("modes", [(SIGNED,), SEVERAL, (ApiKeys(),)])
def test_functions_look_up_limits_of_tenants_where_no_authorizer_hands_them_down(
    made, modes
) -> None:
    table = "laneway-dev-tenants" if SIGNED in modes else ""
    some = made(*modes)
    realtime = RealtimeSettings.from_env(environment(some, "shared-realtime"))
    assert realtime.tenants_table == table
    assert IngressSettings.from_env(environment(some, "ingress")).tenants_table == table
    policies = some.resources("AWS::IAM::Policy")
    readers = {
        name
        for name, policy in policies.items()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if "laneway-dev-tenants" in json.dumps(statement["Resource"])
        and "dynamodb:GetItem" in json.dumps(statement["Action"])
    }
    others = {name for name in readers if "Authorizer" not in name}
    assert any("ngress" in name for name in others) is bool(table)
    assert any("ealtime" in name for name in others) is bool(table)


def test_signed_calls_have_an_api_of_their_own_beside_keys_with_the_same_routes(made) -> None:
    several = made(*SEVERAL)
    checked, signed = by_api(several).values()
    assert checked.keys() == signed.keys()
    assert {kind for key, kind in checked.items() if key != OPEN} == {"CUSTOM"}
    assert {kind for key, kind in signed.items() if key != OPEN} == {"AWS_IAM"}
    outputs = several.templates["ingress"]["Outputs"]
    endpoints = [json.dumps(outputs[name]["Value"]) for name in ("Endpoint", "SignedEndpoint")]
    assert endpoints[0] != endpoints[1]


def test_both_apis_are_throttled_logged_and_watched(made) -> None:
    several = made(*SEVERAL)
    stages = several.properties("AWS::ApiGatewayV2::Stage")
    assert len(stages) == 2
    assert len({json.dumps(stage["AccessLogSettings"]["DestinationArn"]) for stage in stages}) == 1
    for stage in stages:
        assert stage["DefaultRouteSettings"]["ThrottlingRateLimit"] == DEV.throttle_rate_per_s
        logged = json.loads(stage["AccessLogSettings"]["Format"])
        assert {"principal", "tenant", "iam_caller"} <= logged.keys()
        written = set(logged.values())  # a path holds what a caller chose to put there
        assert not {
            name for name in written if re.search("path|query|header|body", name, re.IGNORECASE)
        }
    alarms = {alarm["AlarmName"] for alarm in several.properties("AWS::CloudWatch::Alarm")}
    assert {"laneway-dev-gateway-5xx", "laneway-dev-gateway-signed-5xx"} <= alarms


def test_functions_are_told_what_the_stage_grants_to_whom_iam_knows(made) -> None:
    granting = made(SIGNED)
    realtime = RealtimeSettings.from_env(environment(granting, "shared-realtime"))
    assert realtime.iam_grants == GRANTS
    assert IngressSettings.from_env(environment(granting, "ingress")).iam_grants == GRANTS


@pytest.mark.parametrize(
    ("grants", "words"),
    [
        ({"batch": "read"}, "names no caller"),
        ({"role/team/batch": "read"}, "names no caller"),
        ({"role/batch": "read write"}, "'write' is no scope"),
    ],
)
def test_a_grant_to_nobody_or_of_nothing_is_refused(grants, words) -> None:
    with pytest.raises(StageError, match=words):
        Iam(grants=grants)


def test_addresses_in_answers_are_right_on_each_of_two_apis(made) -> None:
    several = environment(made(*SEVERAL), "ingress")
    assert IngressSettings.from_env(several).public_url == ""
    alone = environment(made(SIGNED), "ingress")
    assert IngressSettings.from_env(alone).public_url
