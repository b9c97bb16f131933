"""What every store of signing secrets must do; each implementation runs the same tests."""

from __future__ import annotations

from uuid import uuid4

import boto3
import pytest
from moto import mock_aws

from shared.aws import make_client
from shared.errors import ConflictError, NotFoundError, StoreUnavailableError
from shared.jobs.webhook_secrets import (
    CachedSecrets,
    MemorySecretStore,
    SsmSecretStore,
    create_secret,
    parameter_name,
    retire_secret,
    rotate_secret,
)
from stacks import names
from tests.fixtures.job_rows import ManualClock

TENANTS = ["default", "acme.eu", "arn:aws:iam::123:role+x@y=z", "a_b-c", "A"]


@pytest.fixture(scope="module")
def ssm():
    with mock_aws():
        yield make_client("ssm", session=boto3.Session(region_name="us-east-1"))


@pytest.fixture(params=["memory", "ssm"])
def store(request):
    if request.param == "memory":
        return MemorySecretStore()
    return SsmSecretStore(request.getfixturevalue("ssm"), stage=uuid4().hex)


@pytest.mark.parametrize("tenant", TENANTS)
def test_a_secret_that_was_made_is_found_under_its_tenant(store, tenant):
    made = create_secret(store, tenant)
    assert store.get(tenant) == (made,)
    assert store.get("other") == ()


def test_a_tenant_gets_its_first_secret_once(store):
    made = create_secret(store, "acme")
    with pytest.raises(ConflictError, match="secret rotate"):
        create_secret(store, "acme")
    assert store.get("acme") == (made,)


def test_two_secrets_are_active_from_a_rotation_on_and_never_more(store):
    first = create_secret(store, "acme")
    second = rotate_secret(store, "acme")
    assert store.get("acme") == (second, first)
    third = rotate_secret(store, "acme")
    assert store.get("acme") == (third, second)


def test_the_older_secret_can_be_retired(store):
    create_secret(store, "acme")
    second = rotate_secret(store, "acme")
    assert retire_secret(store, "acme") == (second,)
    assert store.get("acme") == (second,)


@pytest.mark.parametrize("change", [rotate_secret, retire_secret])
def test_what_a_tenant_does_not_have_cannot_be_changed(store, change):
    with pytest.raises(NotFoundError, match="secret create"):
        change(store, "acme")


def test_a_secret_is_not_in_its_repr(store):
    made = create_secret(store, "acme")
    assert made.value.removeprefix("whsec_") not in repr(store.get("acme"))


def test_a_parameter_is_encrypted_and_its_name_is_its_tenants_alone(ssm):
    stage = uuid4().hex
    create_secret(SsmSecretStore(ssm, stage=stage), "arn:x")
    [found] = ssm.describe_parameters(
        ParameterFilters=[{"Key": "Name", "Values": [f"/laneway/{stage}/webhooks/arn.3ax"]}]
    )["Parameters"]
    assert found["Type"] == "SecureString"
    names = {parameter_name("dev", tenant) for tenant in (*TENANTS, "acme.2eeu", "acme_eu")}
    assert len(names) == len(TENANTS) + 2


def test_a_store_that_does_not_answer_is_unavailable():
    session = boto3.Session("a", "b", region_name="us-east-1")
    client = make_client("ssm", session=session, endpoint_url="http://127.0.0.1:9")
    with pytest.raises(StoreUnavailableError):
        SsmSecretStore(client, stage="dev").get("acme")


def test_a_cache_follows_a_rotation_within_a_minute_and_a_first_secret_at_once(store):
    clock = ManualClock()
    cached = CachedSecrets(store, clock=clock)
    assert cached.get("acme") == ()
    first = create_secret(store, "acme")
    assert cached.get("acme") == (first,)
    second = rotate_secret(store, "acme")
    assert cached.get("acme") == (first,)
    clock.advance(60)
    assert cached.get("acme") == (second, first)


def test_the_stack_lets_the_function_read_where_secrets_are_kept():
    assert parameter_name("dev", "acme").startswith(f"/{names.webhook_secrets('dev')}/")
