"""The stages' values: what they may say, and what they must."""

from __future__ import annotations

import dataclasses

import pytest

from shared.schema.spec import PoolSpec, ProvisionedWarm, WarmSchedule
from shared.schema.tenants import TenantLimits, read_limits
from shared.settings import RealtimeSettings
from stacks.auth import ApiKeys, Tokens
from stacks.errors import StageError
from stacks.pools import environment
from stacks.queue_lane import QueueLane
from stacks.retention import Retention
from stacks.stages import DEV, LOCAL, PROD, STAGES, Alarms, stage_of


def tokens(**changes) -> Tokens:
    said = {
        "issuer": "https://issuer.example",
        "jwks_url": "https://issuer.example/keys",
        "audiences": ("laneway",),
        "tenant_claim": "tenant",
    }
    return Tokens(**{**said, **changes})


@pytest.mark.parametrize(
    "silence", [None, "", (), "open", ("open",), "api-key", (ApiKeys(), None), [ApiKeys()]]
)
@pytest.mark.parametrize("stage", [LOCAL, DEV, PROD], ids=lambda stage: stage.name)
def test_a_stage_that_does_not_say_how_callers_prove_themselves_is_refused(stage, silence) -> None:
    with pytest.raises(StageError, match=r"choose how callers prove who they are.*open endpoint"):
        dataclasses.replace(stage, auth=silence)


def test_a_stage_has_no_default_way_for_callers_to_prove_themselves() -> None:
    fields = {field.name: field for field in dataclasses.fields(PROD)}

    assert fields["auth"].default is dataclasses.MISSING
    assert fields["auth"].default_factory is dataclasses.MISSING


def test_a_mode_is_named_once() -> None:
    with pytest.raises(StageError, match="ApiKeys more than once"):
        dataclasses.replace(DEV, auth=(ApiKeys(), ApiKeys()))
    with pytest.raises(StageError, match=r"https://issuer\.example more than once"):
        dataclasses.replace(DEV, auth=(tokens(), tokens(tenant_claim="org")))


@pytest.mark.parametrize(
    ("said", "way_out"),
    [
        ({"jwks_url": "http://issuer.example/keys"}, "jwks_url.*must begin with https://"),
        ({"issuer": "issuer.example"}, "issuer is .*must begin with https://"),
        ({"audiences": ()}, "name the audiences"),
        ({"audiences": ("",)}, "name the audiences"),
        ({"tenant_claim": ""}, "tenant_claim"),
        ({"algorithms": ("RS256", "HS256")}, "'HS256' is not offered; choose from RS256"),
        ({"algorithms": ("none",)}, "'none' is not offered"),
        ({"algorithms": ()}, "is not offered"),
    ],
)
def test_tokens_that_anybody_could_make_are_refused(said, way_out) -> None:
    with pytest.raises(StageError, match=way_out):
        tokens(**said)


def test_an_unknown_stage_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(StageError, match=r"'staging'.*local, dev, prod"):
        stage_of("staging")


def test_only_the_local_stage_opens_the_docs_and_leaves_types_out() -> None:
    assert [stage.name for stage in STAGES.values() if stage.open_docs] == ["local"]
    assert [stage.name for stage in STAGES.values() if stage.emulated] == ["local"]


@pytest.mark.parametrize("stage", [DEV, PROD], ids=lambda stage: stage.name)
def test_the_docs_of_a_deployed_stage_are_not_opened(stage) -> None:
    with pytest.raises(StageError, match="laneway docs"):
        dataclasses.replace(stage, open_docs=True)


def test_any_web_page_may_call_a_local_stage_only() -> None:
    with pytest.raises(StageError, match="any web page"):
        dataclasses.replace(PROD, cors_origins=("*",))


@pytest.mark.parametrize("days", [0, 2, 10_000])
def test_a_retention_that_is_not_offered_is_refused(days) -> None:
    with pytest.raises(StageError, match="CloudWatch Logs offers 1, 3, 5"):
        Retention(logs_days=days)


@pytest.mark.parametrize("throttle", [{"throttle_rate_per_s": 0}, {"throttle_burst": 0}])
def test_a_throttle_that_lets_nothing_through_is_refused(throttle) -> None:
    with pytest.raises(StageError, match="429"):
        dataclasses.replace(DEV, **throttle)


def test_prod_keeps_an_environment_warm_for_a_pool_that_asks_for_none() -> None:
    warm = PROD.warm_of("shared", PoolSpec(warm="on-demand"))

    assert isinstance(warm, ProvisionedWarm)
    assert warm.min == 1


def test_prod_raises_nothing_that_is_warmer_already() -> None:
    asked = ProvisionedWarm(min=4, max=8)

    assert PROD.warm_of("shared", PoolSpec(warm=asked)) == asked


def test_a_stage_overrides_what_the_repository_says_of_a_pool() -> None:
    stage = dataclasses.replace(DEV, warm={"shared": "on-demand"})

    assert stage.warm_of("shared", PoolSpec(warm=ProvisionedWarm())) == "on-demand"
    assert stage.warm_of("other", PoolSpec(warm="snapstart")) == "snapstart"


def test_no_schedule_takes_prod_below_its_minimum() -> None:
    night = WarmSchedule(cron="0 20 * * *", min=0, max=1)
    day = WarmSchedule(cron="0 6 * * *", min=3, max=6)

    warm = PROD.warm_of("shared", PoolSpec(warm=ProvisionedWarm(schedule=(night, day))))

    assert isinstance(warm, ProvisionedWarm)
    assert [(change.min, change.max) for change in warm.schedule] == [(1, 1), (3, 6)]


def test_an_address_beside_an_existing_topic_is_refused_as_it_would_hear_nothing() -> None:
    with pytest.raises(StageError, match="subscribe the address there"):
        Alarms(topic_arn="arn:aws:sns:eu-west-1:111122223333:on-call", email="ops@example.org")


@pytest.mark.parametrize("share", [0, -1, 1.1])
def test_a_share_of_the_workers_that_cannot_be_is_refused(share) -> None:
    with pytest.raises(StageError, match="tenant_share"):
        QueueLane(tenant_share=share)


def test_limits_of_a_stage_reach_the_functions_that_hold_tenants_to_them() -> None:
    limits = TenantLimits(requests_per_s=5, concurrent_jobs=100)
    stage = dataclasses.replace(DEV, tenant_limits=limits)

    told = RealtimeSettings.from_env(environment(stage, "shared", PoolSpec()))

    assert read_limits(told.tenant_limits) == limits
    assert told.usage_table == "laneway-dev-usage"
