from __future__ import annotations

import json

import pytest

from shared.limits import LAMBDA_ENVIRONMENT_BYTES
from shared.settings import (
    AuthorizerSettings,
    PoolAlias,
    RealtimeSettings,
    SettingError,
    TokenIssuer,
)
from shared.settings.jobs import IngressSettings, WebhooksSettings

EVERY = [
    RealtimeSettings(
        stage="dev", pool="shared", log_level="DEBUG", session_budget_mib=7, deadline_margin_ms=9
    ),
    IngressSettings(
        stage="dev",
        public_url="https://example.org/dev",
        pool_aliases={"shared": PoolAlias(function="f", alias="live", provisioned=True)},
        ready_cache_s=2.5,
        jobs_table="laneway-dev-jobs",
        bucket="b",
        queues={"shared": {"async": "https://q/a", "batch": "https://q/b"}},
        input_places={"acme": ["s3://lake/in/"]},
        result_aliases={"lake": "s3://lake/out/"},
        async_target_s=1,
    ),
    IngressSettings(stage="dev"),
    AuthorizerSettings(stage="dev", keys_table="keys"),
    AuthorizerSettings(
        stage="dev",
        issuers=(
            TokenIssuer(
                issuer="https://issuer.example",
                jwks_url="https://issuer.example/keys",
                audiences=("a", "b"),
                tenant_claim="tenant",
            ),
        ),
    ),
    WebhooksSettings(
        stage="local",
        jobs_table="jobs",
        webhooks_queue="https://q/hooks",
        webhooks_dead_letters="https://q/dead",
        public_url="https://example.org",
        webhook_loopback="127.0.0.1:8443",
        webhook_ca_file="ca.pem",
    ),
]


@pytest.mark.parametrize("settings", EVERY, ids=lambda settings: type(settings).__name__)
def test_what_is_written_to_an_environment_reads_back_equal(settings):
    assert type(settings).from_env(settings.to_env()) == settings


def test_what_has_a_default_may_be_left_out():
    read = RealtimeSettings.from_env({"STAGE": "dev", "POOL": "shared"})
    assert read == RealtimeSettings(stage="dev", pool="shared")


def test_every_missing_variable_is_named_at_once():
    with pytest.raises(SettingError, match="RealtimeSettings needs STAGE, POOL"):
        RealtimeSettings.from_env({})


@pytest.mark.parametrize(
    ("settings", "name", "text"),
    [
        (RealtimeSettings, "SESSION_BUDGET_MIB", "much"),
        (RealtimeSettings, "DEADLINE_MARGIN_MS", "0.5"),
        (IngressSettings, "POOL_ALIASES", "{"),
        (IngressSettings, "POOL_ALIASES", '{"a": {"name": "f"}}'),
        (IngressSettings, "POOL_ALIASES", "[1]"),
        (IngressSettings, "POOL_ALIASES", '[["f-*-r", {"name": "f"}, ["a"]]]'),
        (IngressSettings, "READY_CACHE_S", "soon"),
        (IngressSettings, "QUEUES", '{"shared": "https://q"}'),
        (IngressSettings, "QUEUES", '[["https://q/"]]'),
        (IngressSettings, "QUEUES", '[[1, {"async": ["shared"]}]]'),
        (IngressSettings, "INPUT_PLACES", '{"acme": [1]}'),
        (IngressSettings, "RESULT_ALIASES", '{"lake": null}'),
        (IngressSettings, "ASYNC_TTL_S", "1.5"),
    ],
)
def test_a_variable_that_is_not_of_its_type_is_named_with_what_came(settings, name, text):
    with pytest.raises(SettingError, match=name):
        settings.from_env({"STAGE": "dev", "POOL": "shared", name: text})


FIFTY = [f"team-{number:02}-models" for number in range(50)]


def told_of_fifty():
    at = "https://sqs.ap-southeast-1.amazonaws.com/123456789012/laneway-prod-"
    kinds = ("async", "batch", "chunks")
    return IngressSettings(
        stage="prod",
        queues={pool: {kind: f"{at}{pool}-{kind}" for kind in kinds} for pool in FIFTY},
        pool_aliases={
            pool: PoolAlias(function=f"laneway-prod-{pool}-realtime", provisioned=number % 2 == 0)
            for number, pool in enumerate(FIFTY)
        },
    )


def test_the_queues_and_aliases_of_fifty_pools_fit_an_environment():
    written = told_of_fifty().to_env()

    assert len(json.dumps(written)) < LAMBDA_ENVIRONMENT_BYTES * 0.8
    assert IngressSettings.from_env(written) == told_of_fifty()


@pytest.mark.parametrize(
    "queues",
    [
        {"a": {"async": "https://q/laneway-dev-a-async"}, "a-a": {"async": "https://q/a-a-async"}},
        {"a": {"async": "laneway-dev-a-async", "chunks": "https://q/laneway-dev-a-chunks"}},
        {
            "a": {"async-high": "at/a-async-high", "async": "at/a-async"},
            "b": {"async": "at/b-async"},
        },
        {"a": {"async": "at/a-async"}, "b": {}},
        {"a": {"async": "at/a-async"}, "b": {"async": "https://of.another/form"}},
        {},
    ],
)
def test_queues_read_back_whatever_their_addresses_have_in_common(queues):
    settings = IngressSettings(stage="dev", queues=queues)
    read = IngressSettings.from_env(settings.to_env())
    assert read == settings
    assert {pool: list(kinds) for pool, kinds in read.queues.items()} == {
        pool: list(kinds) for pool, kinds in queues.items()
    }


@pytest.mark.parametrize("pool", ["e", "prod", "realtime", "laneway", "f"])
def test_aliases_read_back_whatever_a_pool_is_called(pool):
    settings = IngressSettings(
        stage="prod",
        pool_aliases={
            pool: PoolAlias(function=f"laneway-prod-{pool}-realtime"),
            "other": PoolAlias(function="of-no-pattern", provisioned=True),
        },
    )
    assert IngressSettings.from_env(settings.to_env()) == settings
    alone = IngressSettings(stage="prod", pool_aliases={pool: settings.pool_aliases[pool]})
    assert IngressSettings.from_env(alone.to_env()) == alone
