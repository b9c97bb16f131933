"""The queues of pools whose models run on a gpu: a priority is a queue, and no function consumes them."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from cli.dev.resources import LEASE_S
from shared.settings.jobs import IngressSettings, WorkerSettings
from stacks.queue_lane import GPU_VISIBILITY_S, LOCAL_GPU_VISIBILITY_S
from tests.stacks.aws_words import allowed_to, resolved

KINDS = ("async-high", "async", "batch-high", "batch", "chunks")


@pytest.fixture(params=["gpu_local", "gpu_prod"])
def with_a_gpu_pool(request):
    return request.getfixturevalue(request.param)


def queues(synthesized) -> dict[str, dict]:
    return {queue["QueueName"]: queue for queue in synthesized.properties("AWS::SQS::Queue")}


def test_a_gpu_pool_has_a_queue_for_each_class_and_priority_also_on_ones_own_machine(
    with_a_gpu_pool,
) -> None:
    found, stage = queues(with_a_gpu_pool), with_a_gpu_pool.stage.name
    hidden_s = LOCAL_GPU_VISIBILITY_S if stage == "local" else GPU_VISIBILITY_S

    for kind in KINDS:
        queue = found[f"laneway-{stage}-heavy-{kind}"]
        assert queue["VisibilityTimeout"] == hidden_s
        assert queue["RedrivePolicy"]["maxReceiveCount"] == 20
        assert f"laneway-{stage}-heavy-{kind}-dlq" in found


def test_what_a_killed_worker_held_is_visible_again_after_two_of_its_leases() -> None:
    """Less, and a message would lapse between two heartbeats; more, and one waits for nothing."""
    leases = {item.name: item.default for item in fields(WorkerSettings)}
    assert 2 * leases["lease_s"] == GPU_VISIBILITY_S
    assert 2 * LEASE_S == LOCAL_GPU_VISIBILITY_S


def test_no_function_runs_a_gpu_pool_or_consumes_its_queues(with_a_gpu_pool) -> None:
    functions = {
        found["FunctionName"] for found in with_a_gpu_pool.properties("AWS::Lambda::Function")
    }
    consumed = {
        resolved(source["EventSourceArn"])
        for source in with_a_gpu_pool.properties("AWS::Lambda::EventSourceMapping")
    }

    assert not any("-heavy-" in name for name in functions)
    assert not any("-heavy-" in arn for arn in consumed)
    assert any("-shared-async" in arn for arn in consumed)


def test_ingress_and_the_sweeper_know_the_queues_of_a_gpu_pool_and_may_send_there(gpu_prod) -> None:
    for function in ("laneway-prod-ingress", "laneway-prod-sweeper"):
        arns = {arn.rpartition(":")[2] for arn in allowed_to(gpu_prod, function)["sqs:SendMessage"]}
        assert {f"laneway-prod-heavy-{kind}" for kind in KINDS[:4]} <= arns
    (variables,) = [
        {name: resolved(value) for name, value in found["Environment"]["Variables"].items()}
        for found in gpu_prod.properties("AWS::Lambda::Function")
        if found.get("FunctionName") == "laneway-prod-ingress"
    ]
    told = IngressSettings.from_env(variables)
    assert list(told.queues["heavy"]) == list(KINDS)
    assert told.queues["heavy"]["async-high"].endswith("/laneway-prod-heavy-async-high")


def test_every_queue_of_a_gpu_pool_is_watched_for_dead_letters_and_lateness(gpu_prod) -> None:
    alarms = {
        alarm["AlarmName"].removeprefix("laneway-prod-"): alarm
        for alarm in gpu_prod.properties("AWS::CloudWatch::Alarm")
    }
    fleet = gpu_prod.stage.fleet

    for kind in KINDS:
        assert f"heavy-{kind}-dead-letters" in alarms
    late = alarms["heavy-async-high-late"]
    assert late["Threshold"] == fleet.wait_s["async"] + fleet.startup_s
    assert alarms["shared-async-late"]["Threshold"] == 60
    page = json.dumps(gpu_prod.properties("AWS::CloudWatch::Dashboard"))
    assert "heavy-batch-high" in page
