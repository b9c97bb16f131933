"""Whom the authorizer lets in by a key, and what it hands down."""

from __future__ import annotations

from types import SimpleNamespace

import orjson
import pytest
from aws_lambda_powertools import Logger

from functions.authorizer.authorize import make_handler
from shared.keys import MemoryKeyStore, create_key, revoke_key
from shared.principal import principal_of

CONTEXT = SimpleNamespace(aws_request_id="invocation")
REFUSED = {"isAuthorized": False, "context": {}}


class CountingStore(MemoryKeyStore):
    """Counts the calls that a table would have to answer."""

    lookups = 0

    def get(self, key_hash):
        self.lookups += 1
        return super().get(key_hash)


@pytest.fixture
def store():
    return CountingStore()


@pytest.fixture
def handler(store):
    return make_handler(keys=store, logger=Logger(service="test-authorizer"))


def call(handler, headers):
    event = {"version": "2.0", "type": "REQUEST", "requestContext": {"requestId": "r"}}
    return handler(event | {"headers": headers}, CONTEXT)


def principal(answer):
    """Who the functions behind take the caller for."""
    assert answer["isAuthorized"] is True
    assert all(isinstance(value, str) for value in answer["context"].values())
    return principal_of({"requestContext": {"authorizer": {"lambda": answer["context"]}}})


def test_a_valid_key_is_let_in_with_its_tenant_id_and_scopes(handler, store):
    secret, key = create_key(store, tenant="acme", scopes=["infer:scale", "read"])
    answer = call(handler, {"x-api-key": secret})
    found = principal(answer)
    assert (found.tenant, found.name) == ("acme", f"key:{key.key_id}")
    assert found.scopes == {"infer:scale", "read"}
    assert answer["context"]["key_id"] == key.key_id


def test_the_tenants_own_limits_are_handed_down(store):
    secret, _ = create_key(store, tenant="acme")
    handler = make_handler(
        keys=store,
        limits_of={"acme": '{"burst":5}'}.__getitem__,
        logger=Logger(service="test-authorizer-limits"),
    )
    assert principal(call(handler, {"x-api-key": secret})).limits == '{"burst":5}'


def test_a_revoked_key_is_not_let_in(handler, store):
    secret, key = create_key(store)
    revoke_key(store, key.key_id)
    assert call(handler, {"x-api-key": secret}) == REFUSED


@pytest.mark.parametrize(
    "headers",
    [None, {}, {"x-api-key": ""}, {"x-api-key": "guess"}, {"x-api-key": "lw_" + "é" * 43}],
)
def test_a_malformed_or_absent_key_costs_no_call_to_the_table(handler, store, headers):
    assert call(handler, headers) == REFUSED
    assert store.lookups == 0


def test_where_only_keys_are_taken_a_bearer_is_nobody(handler, store):
    secret, _ = create_key(store)
    assert call(handler, {"authorization": f"Bearer {secret}"}) == REFUSED


def test_a_stage_that_takes_nothing_lets_nobody_in(store):
    secret, _ = create_key(store)
    closed = make_handler(logger=Logger(service="test-authorizer-closed"))
    assert call(closed, {"x-api-key": secret}) == REFUSED


def test_the_key_is_never_logged_and_the_decision_is(handler, store, capsys):
    secret, key = create_key(store)
    handler = make_handler(keys=store, logger=Logger(service="test-authorizer-lines"))
    call(handler, {"x-api-key": secret})
    logged = "".join(capsys.readouterr())
    assert f"key:{key.key_id}" in logged
    assert secret not in logged
    assert key.key_hash not in logged


def test_a_refusal_is_a_record_of_the_audit_with_a_reason(store, capsys):
    handler = make_handler(keys=store, logger=Logger(service="test-authorizer-refusals"))
    call(handler, {"x-api-key": f"lw_{'a' * 43}"})
    line = orjson.loads(capsys.readouterr().out)
    assert (line["audit"], line["allowed"], line["reason"]) == ("denied", False, "unknown_key")
    assert line["request_id"] == "r"


def test_a_failing_table_is_not_a_refusal(capsys):
    class Broken(MemoryKeyStore):
        def get(self, key_hash):
            raise ConnectionError(key_hash)

    handler = make_handler(keys=Broken(), logger=Logger(service="test-authorizer-broken"))
    with pytest.raises(ConnectionError):
        call(handler, {"x-api-key": f"lw_{'a' * 43}"})
    assert "authorization" not in capsys.readouterr().out
