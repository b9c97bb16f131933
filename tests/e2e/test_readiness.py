"""A pool is broken and mended in the emulator: `/ready` says so each time."""

from __future__ import annotations

import boto3
import httpx
import pytest

from tests.e2e.local_service import eventually

pytestmark = pytest.mark.deployed

FUNCTION = "laneway-local-shared-realtime"
ALIAS = "live"
CACHE_S = 5.0
"""How long ingress keeps a pool's answer; given twice over here."""


@pytest.fixture
def functions(service):
    aws = service.facts["aws"]
    return boto3.client(
        "lambda",
        endpoint_url=aws["endpoint_url"],
        aws_access_key_id=aws["access_key_id"],
        aws_secret_access_key=aws["secret_access_key"],
        region_name=aws["region"],
    )


@pytest.fixture
def alias(functions):
    """The pool's alias, put back after the test."""
    alias = functions.get_alias(FunctionName=FUNCTION, Name=ALIAS)
    yield alias
    version = alias["FunctionVersion"]
    try:
        functions.update_alias(FunctionName=FUNCTION, Name=ALIAS, FunctionVersion=version)
    except functions.exceptions.ResourceNotFoundException:
        functions.create_alias(FunctionName=FUNCTION, Name=ALIAS, FunctionVersion=version)


def ready(service, path="/v2/health/ready"):
    return httpx.get(service.endpoint + path, headers=service.headers, timeout=60)


def turns(service, path, status):
    return eventually(lambda: ready(service, path).status_code == status, timeout_s=4 * CACHE_S)


def test_a_pool_without_its_alias_is_not_ready_until_it_is_back(service, functions, alias):
    assert ready(service).status_code == 200
    functions.delete_alias(FunctionName=FUNCTION, Name=ALIAS)
    for path in ("/v2/health/ready", "/v2/models/breast-cancer/ready"):
        assert turns(service, path, 503), ready(service, path).text
    assert "shared" in ready(service).text

    functions.create_alias(
        FunctionName=FUNCTION, Name=ALIAS, FunctionVersion=alias["FunctionVersion"]
    )
    for path in ("/v2/health/ready", "/v2/models/breast-cancer/ready"):
        assert turns(service, path, 200), ready(service, path).text


def test_a_live_service_with_a_broken_pool_is_still_live(service, functions, alias):
    functions.delete_alias(FunctionName=FUNCTION, Name=ALIAS)
    assert alias
    assert turns(service, "/v2/health/ready", 503)
    assert ready(service, "/v2/health/live").status_code == 200
