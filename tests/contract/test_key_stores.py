"""What every store of API keys must do; each implementation runs the same tests."""

from __future__ import annotations

import re

import boto3
import pytest
from moto import mock_aws

from shared.errors import ConflictError, NotFoundError
from shared.keys import (
    ApiKey,
    MemoryKeyStore,
    create_key,
    hash_key,
    list_keys,
    lookup_key,
    revoke_key,
    rotate_key,
)
from shared.keys_dynamodb import DynamoKeyStore


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
    store.revoke(key, revoked_at="9999-01-01T00:00:00.000+00:00")
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
                tenant=f"tenant-{hour}",
                name="",
                created_at=f"2026-11-21T0{hour}:00:00.000+00:00",
            )
        )
    assert [key.key_id for key in list_keys(store)] == ["1", "2", "3"]


def test_the_same_hash_cannot_be_put_twice(store):
    _, key = create_key(store)
    with pytest.raises(ValueError, match="exists"):
        store.put(key)


def test_a_key_has_the_scopes_that_it_was_made_with_and_all_but_admin_otherwise(store):
    plain, _ = create_key(store, tenant="plain")
    narrow, _ = create_key(store, tenant="narrow", scopes=["read", "infer:iris"])
    assert lookup_key(store, plain).scopes == "infer submit read"
    assert lookup_key(store, narrow).scopes == "infer:iris read"


def test_a_scope_that_there_is_not_makes_no_key(store):
    with pytest.raises(ValueError, match="'write' is no scope"):
        create_key(store, scopes=["write"])
    assert list_keys(store) == []


def test_a_third_active_key_of_a_tenant_is_refused_with_the_way_out(store):
    first, second = (create_key(store, tenant="acme")[1] for _ in range(2))
    create_key(store, tenant="globex")
    with pytest.raises(ConflictError, match="laneway keys rotate ID --now") as refused:
        create_key(store, tenant="acme")
    assert first.key_id in refused.value.message
    assert second.key_id in refused.value.message
    assert len(list_keys(store)) == 3


def test_a_revoked_key_leaves_its_place_to_another(store):
    _, first = create_key(store, tenant="acme")
    create_key(store, tenant="acme")
    revoke_key(store, first.key_id)
    revoke_key(store, first.key_id)
    secret, _ = create_key(store, tenant="acme")
    assert lookup_key(store, secret) is not None
    with pytest.raises(ConflictError):
        create_key(store, tenant="acme")


def test_rotating_makes_a_key_like_the_old_one_and_leaves_that_one_active(store):
    before, old = create_key(store, tenant="acme", name="ci", scopes=["infer"])
    after, new, same = rotate_key(store, old.key_id)
    assert same == old
    assert (new.tenant, new.name, new.scopes) == ("acme", "ci", "infer")
    assert lookup_key(store, before) == old
    assert lookup_key(store, after) == new


def test_rotating_now_puts_the_new_key_into_the_place_of_the_old_one(store):
    create_key(store, tenant="acme")
    before, old = create_key(store, tenant="acme")
    with pytest.raises(ConflictError, match="--now"):
        rotate_key(store, old.key_id)
    after, new, _ = rotate_key(store, old.key_id, now=True)
    assert lookup_key(store, before) is None
    assert lookup_key(store, after) == new
    assert sum(key.revoked_at is None for key in list_keys(store)) == 2


def test_a_revoked_key_cannot_be_rotated(store):
    _, key = create_key(store)
    revoke_key(store, key.key_id)
    with pytest.raises(ConflictError, match="is revoked"):
        rotate_key(store, key.key_id)


def test_of_two_changes_at_once_one_cannot_take_the_place_of_the_other(store):
    """The other change comes between the look at the active keys and the write."""
    create_key(store, tenant="acme")
    if isinstance(store, DynamoKeyStore):
        looked, overtaken = store._active_ids, []

        def look(tenant):
            found = looked(tenant)
            if not overtaken:
                overtaken.append(True)
                create_key(DynamoKeyStore(store._client, table=store._table), tenant="acme")
            return found

        store._active_ids = look
    else:
        create_key(store, tenant="acme")
    with pytest.raises(ConflictError):
        create_key(store, tenant="acme")
    assert len(list_keys(store)) == 2


@pytest.mark.parametrize("tenant", ["", "a/b", "a b", "../a", "a\n", "ä", "x" * 129, ".a"])
def test_a_tenant_is_one_part_of_keys_and_prefixes(store, tenant):
    with pytest.raises(ValueError, match="is no tenant"):
        create_key(store, tenant=tenant)
    assert list_keys(store) == []
