"""Functions, their roles, logs and warm capacity: what costs money or lets somebody in when wrong."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING

import pytest

from shared.limits import (
    HTTP_API_INTEGRATION_TIMEOUT_S,
    LAMBDA_ENVIRONMENT_BYTES,
    LAMBDA_SNAPSTART_PYTHON_MIN,
    PREFER_WAIT_S_MAX,
)
from shared.schema.spec import PoolSpec
from shared.settings import RealtimeSettings
from stacks.encryption import NEEDS
from stacks.errors import StageError, SynthError
from stacks.stages import DEV
from tests.stacks.aws_words import allowed_to, listed, resolved

if TYPE_CHECKING:
    from conftest import Synthesized

POOLS = ("shared", "hot")
LOG_AND_TRACE = ("logs:", "xray:")


def functions(synthesized: Synthesized) -> dict[str, dict]:
    """Ours by name; the CDK's own, which empties the bucket of a stage that keeps nothing, has none."""
    return {
        function["FunctionName"]: function
        for function in synthesized.properties("AWS::Lambda::Function")
        if "FunctionName" in function
    }


def test_every_function_has_its_log_group_with_retention_which_goes_with_the_stack(
    every_stage,
) -> None:
    groups = every_stage.resources("AWS::Logs::LogGroup").values()
    by_name = {resolved(group["Properties"]["LogGroupName"]): group for group in groups}

    for name, function in every_stage.resources("AWS::Lambda::Function").items():
        assert f"/aws/lambda/{function['Properties'].get('FunctionName', name)}" in by_name
    keeps = every_stage.stage.retention
    for name, group in by_name.items():
        days = keeps.audit_days if name.endswith("/audit") else keeps.logs_days
        assert group["Properties"]["RetentionInDays"] <= days
        assert group["DeletionPolicy"] == "Delete"


def test_the_runtime_is_the_running_interpreters(every_stage) -> None:
    expected = f"python{sys.version_info.major}.{sys.version_info.minor}"

    assert {function["Runtime"] for function in functions(every_stage).values()} == {expected}


def test_every_function_is_traced_and_has_a_role_of_its_own(prod) -> None:
    found = functions(prod).values()

    assert {function["TracingConfig"]["Mode"] for function in found} == {"Active"}
    roles = [json.dumps(function["Role"]) for function in found]
    assert len(set(roles)) == len(roles)
    assert all("ManagedPolicyArns" not in role for role in prod.properties("AWS::IAM::Role"))


def test_a_policy_allows_everything_nowhere_but_for_tracing(every_stage) -> None:
    for policy in every_stage.properties("AWS::IAM::Policy"):
        for statement in policy["PolicyDocument"]["Statement"]:
            actions = listed(statement["Action"])
            assert not any("*" in action for action in actions)
            if "*" in listed(statement["Resource"]):
                assert all(action.startswith("xray:Put") for action in actions)


def test_a_realtime_function_may_hand_over_to_ingress_and_count_and_nothing_else(
    every_stage,
) -> None:
    for pool in POOLS:
        allowed = allowed_to(every_stage, f"laneway-{every_stage.stage.name}-{pool}-realtime")

        asked = {action for action in allowed if not action.startswith((*LOG_AND_TRACE, "kms:"))}
        assert asked == {"lambda:InvokeFunction", "dynamodb:UpdateItem"}
        (counters,) = allowed["dynamodb:UpdateItem"]
        assert counters.endswith(f":table/laneway-{every_stage.stage.name}-usage")
        (ingress,) = allowed["lambda:InvokeFunction"]
        assert ingress.endswith(f":function:laneway-{every_stage.stage.name}-ingress")


def test_the_authorizer_may_read_one_key_at_a_time_and_never_list_them(prod, dev) -> None:
    in_prod = allowed_to(prod, "laneway-prod-authorizer")
    in_dev = allowed_to(dev, "laneway-dev-authorizer")

    named = {action for action in in_prod if not action.startswith(LOG_AND_TRACE)}
    assert named == {"dynamodb:GetItem", *NEEDS["dynamodb:GetItem"]}
    assert {action for action in in_dev if not action.startswith(LOG_AND_TRACE)} == {
        "dynamodb:GetItem"
    }


def test_more_pools_than_an_environment_holds_are_refused(synthesize, repository, assets) -> None:
    model = repository.models["iris"]
    names = [f"pool-{number}-{'x' * 25}" for number in range(60)]
    many = dataclasses.replace(
        repository,
        pools=dict.fromkeys(names, PoolSpec()),
        models={
            name: dataclasses.replace(
                model, name=name, spec=model.spec.model_copy(update={"pool": name})
            )
            for name in names
        },
    )
    stubs = dataclasses.replace(assets, pools=dict.fromkeys(names, assets.ingress))

    with pytest.raises(SynthError, match=r"has \d+ bytes and Lambda takes 4096.*as another stage"):
        synthesize(DEV, repository=many, assets=stubs)


def test_a_pool_without_a_realtime_model_has_no_function_to_pay_for(synthesize, repository) -> None:
    models = {name: model for name, model in repository.models.items() if name != "text"}

    found = synthesize(DEV, repository=dataclasses.replace(repository, models=models))

    assert "nightly" in models
    assert "laneway-dev-shared-realtime" in functions(found)
    assert "laneway-dev-hot-realtime" not in functions(found)


def test_a_stage_that_warms_a_pool_that_is_not_there_is_refused(synthesize) -> None:
    stage = dataclasses.replace(DEV, warm={"hott": "on-demand"})

    with pytest.raises(StageError, match=r"'hott', and pools\.toml has shared, hot"):
        synthesize(stage)


def test_ingress_may_ask_the_live_aliases_and_no_other_function(prod) -> None:
    targets = allowed_to(prod, "laneway-prod-ingress")["lambda:InvokeFunction"]

    assert {target.rpartition(":function:")[2] for target in targets} == {
        f"laneway-prod-{pool}-realtime:live" for pool in POOLS
    }


def test_no_function_outlasts_the_gateway_that_waits_for_it(prod) -> None:
    for name, function in functions(prod).items():
        if name.endswith(("-realtime", "-ingress", "-authorizer")):
            assert function["Timeout"] <= HTTP_API_INTEGRATION_TIMEOUT_S, name


def test_a_realtime_function_outlasts_its_runs_so_that_it_can_wait_for_a_job(prod) -> None:
    function = functions(prod)["laneway-prod-hot-realtime"]
    settings = RealtimeSettings.from_env(function["Environment"]["Variables"])
    assert settings.timeout_s == 20
    assert function["Timeout"] > PREFER_WAIT_S_MAX


def test_a_pools_environment_reads_back_and_fits(prod) -> None:
    for pool in POOLS:
        environment = functions(prod)[f"laneway-prod-{pool}-realtime"]["Environment"]["Variables"]

        settings = RealtimeSettings.from_env(environment)

        assert (settings.stage, settings.pool) == ("prod", pool)
        assert len(json.dumps(environment)) < LAMBDA_ENVIRONMENT_BYTES


def test_callers_reach_a_published_version_through_the_alias_live(every_stage) -> None:
    aliases = every_stage.properties("AWS::Lambda::Alias")

    assert [alias["Name"] for alias in aliases] == ["live"] * len(POOLS)
    versions = every_stage.resources("AWS::Lambda::Version")
    for alias in aliases:
        assert alias["FunctionVersion"]["Fn::GetAtt"][0] in versions


def test_warm_environments_are_on_the_alias_and_never_on_a_version(prod) -> None:
    versions = prod.properties("AWS::Lambda::Version")

    assert all("ProvisionedConcurrencyConfig" not in version for version in versions)
    warm = [
        alias["ProvisionedConcurrencyConfig"]["ProvisionedConcurrentExecutions"]
        for alias in prod.properties("AWS::Lambda::Alias")
    ]
    assert sorted(warm) == [1, 2]  # shared by the stage's minimum, hot by pools.toml


def test_warm_environments_follow_use_and_the_schedule_on_the_alias(prod) -> None:
    targets = prod.properties("AWS::ApplicationAutoScaling::ScalableTarget")
    by_function = {_function_of(target): target for target in targets}

    assert len(by_function) == len(POOLS)
    hot = by_function["hot"]
    assert (hot["MinCapacity"], hot["MaxCapacity"]) == (2, 5)
    assert hot["ScheduledActions"][0]["Schedule"] == "cron(0 8 ? * MON-FRI *)"
    assert hot["ScheduledActions"][0]["ScalableTargetAction"] == {
        "MinCapacity": 3,
        "MaxCapacity": 9,
    }
    for policy in prod.properties("AWS::ApplicationAutoScaling::ScalingPolicy"):
        tracking = policy["TargetTrackingScalingPolicyConfiguration"]
        metric = tracking["PredefinedMetricSpecification"]["PredefinedMetricType"]
        assert metric == "LambdaProvisionedConcurrencyUtilization"
        assert tracking["TargetValue"] == pytest.approx(0.7)


def test_no_function_has_snapstart_and_warm_environments(every_stage) -> None:
    for function in functions(every_stage).values():
        assert "SnapStart" not in function


def test_a_pool_with_snapstart_buys_no_warm_environments(synthesize, repository) -> None:
    pools = {**repository.pools, "hot": PoolSpec(warm="snapstart")}
    changed = dataclasses.replace(repository, pools=pools)
    if sys.version_info[:2] < LAMBDA_SNAPSTART_PYTHON_MIN:
        with pytest.raises(SynthError, match=r"SnapStart needs Python 3\.12.*warm"):
            synthesize(DEV, repository=changed)
        return

    found = synthesize(DEV, repository=changed)

    snapstart = functions(found)["laneway-dev-hot-realtime"]["SnapStart"]
    assert snapstart == {"ApplyOn": "PublishedVersions"}
    for alias in found.properties("AWS::Lambda::Alias"):
        assert "ProvisionedConcurrencyConfig" not in alias


def test_the_guard_refuses_a_function_that_has_both(tmp_path) -> None:
    from aws_cdk import App, Stack  # noqa: PLC0415 - after `stacks`
    from aws_cdk import aws_lambda as lambda_  # noqa: PLC0415 - as above

    from shared.schema.spec import ProvisionedWarm  # noqa: PLC0415 - beside its use
    from stacks.parts.warm_alias import WarmAlias  # noqa: PLC0415 - after `stacks`

    stack = Stack(App(outdir=str(tmp_path)), "both")
    function = lambda_.Function(
        stack,
        "Function",
        runtime=lambda_.Runtime.PYTHON_3_13,
        handler="index.handler",
        code=lambda_.Code.from_inline("def handler(event, context): ..."),
        snap_start=lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS,
    )

    with pytest.raises(SynthError, match="exclude each other"):
        WarmAlias(stack, "Live", function=function, warm=ProvisionedWarm())


def _function_of(target: dict) -> str:
    text = json.dumps(target["ResourceId"])
    return next(pool for pool in POOLS if f"{pool}realtime" in text.replace("-", ""))
