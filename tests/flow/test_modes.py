"""Callers with tokens and with signatures, from the gateway to the functions and back, in one process.

The gateway's own part is played here: it asks the authorizer by the header `Authorization`, or says by itself
whose signature it has checked, in the form that Amazon API Gateway documents for `$context.authorizer.iam`.
"""

from __future__ import annotations

from dataclasses import dataclass
from secrets import token_hex

import orjson
import pytest
from aws_lambda_powertools import Logger

from cli.testing.gateway import Gateway
from cli.testing.lambdas import LocalFunction
from functions.authorizer.authorize import make_handler
from functions.authorizer.signing_keys import SigningKeys
from functions.authorizer.tokens import TokenReader
from shared.keys import create_key
from shared.limiting.tenants import TenantRow
from tests.fixtures.issuer import an_issuer, key_set, public, rsa_key, sign

TENSOR = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
BODY = {"inputs": [TENSOR]}
JOB = {"model": "scale", "input": BODY}
INFER = ("POST", "/v2/models/scale/infer")
KEY = rsa_key()


@dataclass
class TokenGateway(Gateway):
    """Asks by `Authorization`, as `stacks/parts/http_api.py` has it for a stage that takes tokens."""

    def _authorize(self, event):
        """The gateway of the fixtures goes by `x-api-key`: so it has one where there is a bearer."""
        if "authorization" in event["headers"]:
            event["headers"]["x-api-key"] = "not looked at"
        return super()._authorize(event)


@dataclass
class SignedGateway(Gateway):
    """Has checked every signature already; the ARN is in a header of the test's."""

    def _authorize(self, event):
        arn = event["headers"]["x-arn"]
        event["requestContext"]["authorizer"] = {
            "iam": {"userArn": arn, "accountId": arn.split(":")[4], "callerId": "AROA:session"}
        }


@pytest.fixture(scope="module")
def tokens(laneway_service):
    reader = TokenReader(
        (an_issuer(),), open_keys=lambda _: SigningKeys(lambda: key_set(public(KEY, "k1")))
    )
    handler = make_handler(
        keys=laneway_service.keys, tokens=reader, logger=Logger(service="laneway-authorizer")
    )
    return TokenGateway(
        authorizer=LocalFunction("laneway-local-authorizer-tokens", handler),
        routes=laneway_service.gateway.routes,
    )


@pytest.fixture(scope="module")
def signed(laneway_service):
    gateway = laneway_service.gateway
    return SignedGateway(authorizer=gateway.authorizer, routes=gateway.routes)


def ask(gateway, method, path, body, **headers):
    sent = b"" if body is None else orjson.dumps(body)
    return gateway.handle(method, path, {"content-type": "application/json", **headers}, sent)


def bearer(**said):
    return {"authorization": f"Bearer {sign(KEY, **said)}"}


def test_a_token_asks_models_as_far_as_its_scopes_go(tokens):
    assert ask(tokens, *INFER, BODY, **bearer(scope="infer:scale")).status == 200
    refused = ask(tokens, *INFER, BODY, **bearer(scope="read submit"))
    assert (refused.status, refused.json()["code"]) == (403, "forbidden")
    job = ask(tokens, "POST", "/v2/jobs", JOB, **bearer(scope="infer:scale"))
    assert (job.status, job.json()["code"]) == (403, "forbidden")


def test_a_tokens_jobs_are_its_tenants_whoever_of_the_tenant_asks(laneway_service, tokens):
    tenant = f"acme-{token_hex(4)}"
    scope = "submit read"
    made = ask(tokens, "POST", "/v2/jobs", JOB, **bearer(tenant=tenant, scope=scope))
    assert made.status == 202
    path = f"/v2/jobs/{made.json()['id']}"
    colleague = bearer(tenant=tenant, sub="ann", scope=scope)
    assert ask(tokens, "GET", path, None, **colleague).status == 200
    stranger = bearer(tenant=f"globex-{token_hex(4)}", scope=scope)
    assert ask(tokens, "GET", path, None, **stranger).status == 404
    secret, _ = create_key(laneway_service.keys, tenant=tenant)
    key = {"authorization": f"Bearer {secret}"}
    assert ask(tokens, "GET", path, None, **key).status == 200
    laneway_service.run_jobs()


def test_no_token_and_a_bad_one_are_the_gateways_to_refuse(tokens):
    assert ask(tokens, *INFER, BODY).status == 401
    forged = {"authorization": f"Bearer {sign(rsa_key())}"}
    answer = ask(tokens, *INFER, BODY, **forged)
    assert (answer.status, answer.json()) == (403, {"message": "Forbidden"})


def role(name, session):
    return {"x-arn": f"arn:aws:sts::123456789012:assumed-role/{name}/{session}"}


def test_all_sessions_of_a_role_are_one_tenant_and_other_roles_are_others(laneway_service, signed):
    assert ask(signed, *INFER, BODY, **role("caller", "1")).status == 200
    made = ask(signed, "POST", "/v2/jobs", JOB, **role("caller", "1"))
    assert made.status == 202
    path = f"/v2/jobs/{made.json()['id']}"
    assert ask(signed, "GET", path, None, **role("caller", "2")).status == 200
    assert ask(signed, "GET", path, None, **role("another", "1")).status == 404
    upload = ask(signed, "POST", "/v2/uploads", {}, **role("caller", "1")).json()
    assert "/uploads/iam.123456789012.role.caller/" in upload["uri"]
    laneway_service.run_jobs()


def test_limits_of_a_role_hold_though_no_authorizer_hands_them_down(laneway_service, signed):
    name = f"limited-{token_hex(4)}"
    tenant = f"iam.123456789012.role.{name}"
    limits = {"requests_per_s": 0.001, "burst": 3, "concurrent_jobs": 1}
    laneway_service.resources.tenants.put(TenantRow(tenant=tenant, limits=limits))

    jobs = [ask(signed, "POST", "/v2/jobs", JOB, **role(name, "1")) for _ in range(2)]
    assert [job.status for job in jobs] == [202, 429]
    assert jobs[1].json()["code"] == "too_many_jobs"
    calls = [ask(signed, *INFER, BODY, **role(name, "2")) for _ in range(20)]
    assert calls[0].headers["ratelimit-policy"] == '"requests";q=3;w=3000'
    assert calls[-1].json()["code"] == "rate_limited"
    assert ask(signed, *INFER, BODY, **role("unlimited", "1")).status == 200
    laneway_service.run_jobs()
