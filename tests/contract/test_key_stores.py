"""What every store of API keys must do; each implementation runs the same tests."""

from __future__ import annotations

import re

import boto3
import pytest
from moto import mock_aws

from shared.errors import NotFoundError
from shared.keys import (
    ApiKey,
    DynamoKeyStore,
    MemoryKeyStore,
    create_key,
    hash_key,
    list_keys,
    lookup_key,
    revoke_key,
)


@pytest.fixture(params=["memory", "dynamodb"])
def store(request):
    if request.param == "memory":
        yield MemoryKeyStore()
        return
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        client.create_table(
            TableName="contract-keys",
            KeySchema=[{"AttributeName": "key_hash", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "key_hash", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        yield DynamoKeyStore(client, table="contract-keys")
        client.delete_table(TableName="contract-keys")


def test_a_new_key_has_the_documented_form_and_is_found(store):
    secret, key = create_key(store, tenant="acme", name="laptop")
    assert re.fullmatch(r"lw_[A-Za-z0-9_-]{43}", secret)
    assert lookup_key(store, secret) == key
    assert (key.tenant, key.name, key.revoked_at) == ("acme", "laptop", None)


def test_what_is_stored_does_not_contain_the_key(store):
    secret, key = create_key(store)
    [kept] = store.all()
    assert kept == key
    assert kept.key_hash == hash_key(secret)
    assert secret not in repr(kept)


def test_a_key_that_was_never_made_is_not_found(store):
    create_key(store)
    assert lookup_key(store, f"lw_{'a' * 43}") is None


@pytest.mark.parametrize(
    "secret", [None, "", "lw_", "lw_short", f"lw_{'a' * 44}", f"xx_{'a' * 43}"]
)
def test_a_malformed_key_is_refused(store, secret):
    assert lookup_key(store, secret) is None


def test_a_revoked_key_is_not_found_and_still_listed(store):
    secret, key = create_key(store)
    revoked = revoke_key(store, key.key_id)
    assert revoked.revoked_at is not None
    assert lookup_key(store, secret) is None
    assert list_keys(store) == [revoked]


def test_revoking_twice_keeps_the_first_time(store):
    _, key = create_key(store)
    first = revoke_key(store, key.key_id)
    assert revoke_key(store, key.key_id) == first
    store.revoke(key.key_hash, revoked_at="9999-01-01T00:00:00.000+00:00")
    assert list_keys(store) == [first]


def test_revoking_an_unknown_id_says_how_to_see_the_ids(store):
    with pytest.raises(NotFoundError, match="laneway keys list"):
        revoke_key(store, "0123456789abcdef")


def test_keys_are_listed_oldest_first(store):
    for hour in (3, 1, 2):
        store.put(
            ApiKey(
                key_hash=hash_key(str(hour)),
                key_id=str(hour),
                tenant="default",
                name="",
                created_at=f"2026-11-21T0{hour}:00:00.000+00:00",
            )
        )
    assert [key.key_id for key in list_keys(store)] == ["1", "2", "3"]


def test_the_same_hash_cannot_be_put_twice(store):
    _, key = create_key(store)
    with pytest.raises(ValueError, match="exists"):
        store.put(key)
