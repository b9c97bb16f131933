from __future__ import annotations

import pytest

from shared.settings import (
    AuthorizerSettings,
    IngressSettings,
    PoolAlias,
    RealtimeSettings,
    SettingError,
    WebhooksSettings,
)

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
        (IngressSettings, "POOL_ALIASES", "[]"),
        (IngressSettings, "READY_CACHE_S", "soon"),
        (IngressSettings, "QUEUES", '{"shared": "https://q"}'),
        (IngressSettings, "INPUT_PLACES", '{"acme": [1]}'),
        (IngressSettings, "RESULT_ALIASES", '{"lake": null}'),
        (IngressSettings, "ASYNC_TTL_S", "1.5"),
    ],
)
def test_a_variable_that_is_not_of_its_type_is_named_with_what_came(settings, name, text):
    with pytest.raises(SettingError, match=name):
        settings.from_env({"STAGE": "dev", "POOL": "shared", name: text})
