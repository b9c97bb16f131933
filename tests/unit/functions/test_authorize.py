from __future__ import annotations

from types import SimpleNamespace

import pytest
from aws_lambda_powertools import Logger

from functions.authorizer.authorize import make_handler
from shared.keys import MemoryKeyStore, create_key, revoke_key

CONTEXT = SimpleNamespace(aws_request_id="invocation")


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
    return make_handler(store, logger=Logger(service="test-authorizer"))


def call(handler, headers):
    event = {"version": "2.0", "type": "REQUEST", "requestContext": {"requestId": "r"}}
    return handler(event | {"headers": headers}, CONTEXT)


def test_a_valid_key_is_let_in_with_its_tenant_and_id(handler, store):
    secret, key = create_key(store, tenant="acme")
    answer = call(handler, {"x-api-key": secret})
    assert answer == {"isAuthorized": True, "context": {"tenant": "acme", "key_id": key.key_id}}


def test_a_revoked_key_is_not_let_in(handler, store):
    secret, key = create_key(store)
    revoke_key(store, key.key_id)
    assert call(handler, {"x-api-key": secret}) == {"isAuthorized": False, "context": {}}


@pytest.mark.parametrize(
    "headers",
    [None, {}, {"x-api-key": ""}, {"x-api-key": "guess"}, {"x-api-key": "lw_" + "é" * 43}],
)
def test_a_malformed_or_absent_key_costs_no_call_to_the_table(handler, store, headers):
    assert call(handler, headers)["isAuthorized"] is False
    assert store.lookups == 0


def test_the_key_is_never_logged_and_the_decision_is(handler, store, capsys):
    secret, key = create_key(store)
    handler = make_handler(store, logger=Logger(service="test-authorizer-lines"))
    call(handler, {"x-api-key": secret})
    logged = "".join(capsys.readouterr())
    assert key.key_id in logged
    assert secret not in logged
    assert key.key_hash not in logged


def test_a_failing_table_is_not_a_refusal(capsys):
    class Broken(MemoryKeyStore):
        def get(self, key_hash):
            raise ConnectionError(key_hash)

    handler = make_handler(Broken(), logger=Logger(service="test-authorizer-broken"))
    with pytest.raises(ConnectionError):
        call(handler, {"x-api-key": f"lw_{'a' * 43}"})
    assert "authorization" not in capsys.readouterr().out
