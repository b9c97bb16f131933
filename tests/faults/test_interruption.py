"""A real worker on an instance that is taken away: what it does until then, and what others find after.

What becomes of messages is tested on SQS and on RabbitMQ; on SQS alone, what is between the worker and its
instance, or within its process.
"""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from tests.faults.instance import (
    auto_scaling,
    running_instance,
    write_cold_models,
    write_gpu_models,
)
from tests.faults.stage import wait_for

NOTICE_S = 15
SEEN_WITHIN_S = 5


@pytest.fixture(scope="session")
def gpu_models(tmp_path_factory):
    return write_gpu_models(tmp_path_factory.mktemp("gpu") / "models")


@pytest.fixture
def instance(tmp_path, gpu_models, aws):
    with running_instance(tmp_path, gpu_models, aws) as running:
        yield running


@pytest.fixture(params=["sqs", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def carried(request, tmp_path, gpu_models, aws):
    """An instance, its jobs carried by each of the brokers."""
    options = {}
    if request.param == "rabbitmq":
        options["rabbitmq"] = request.getfixturevalue("rabbitmq")
    with running_instance(tmp_path, gpu_models, aws, **options) as running:
        yield running


def is_running(instance, key):
    return instance.row(key).status == "running"


def wait_running(instance, *keys):
    wait_for(
        lambda: all(is_running(instance, key) for key in keys),
        what="\n".join(["the worker has the jobs", *(w.end() for w in instance.workers)]),
    )


def wait_succeeded(instance, *keys):
    wait_for(
        lambda: all(instance.row(key).status == "succeeded" for key in keys),
        what="the jobs succeed",
    )


def wait_ended(worker, *, timeout_s):
    """Gives the exit code; fails when the worker still runs after `timeout_s`."""
    wait_for(lambda: not worker.running(), what="the worker ends", timeout_s=timeout_s)
    return worker.popen.returncode


def lines_of(worker, name):
    """The worker's log lines that have this member."""
    lines = [line for line in worker.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in map(json.loads, lines) if name in line]


def check_handed_back(instance, *keys):
    """Nothing of them was charged or is leased, and their messages can be received at once."""
    rows = [instance.row(key) for key in keys]
    assert [(row.status, row.attempt, row.lease_owner) for row in rows] == [
        ("queued", 0, None) for _ in keys
    ]
    assert instance.visible() == sorted(key.id for key in keys)


def test_a_spot_notice_aborts_what_cannot_end_and_gives_everything_back_in_time(carried):
    instance = carried
    worker = instance.start()
    done = instance.submit("quick")
    wait_succeeded(instance, done)
    stuck = instance.submit_stuck()
    wait_running(instance, stuck)
    waiting = [instance.submit("quick") for _ in range(3)]
    wait_running(instance, *waiting)

    noticed_at = time.monotonic()
    instance.metadata.interrupt(in_s=NOTICE_S)

    assert wait_ended(worker, timeout_s=NOTICE_S) == 0
    assert time.monotonic() - noticed_at < NOTICE_S
    check_handed_back(instance, stuck, *waiting)
    assert instance.row(done).attempt == 1
    (told,) = lines_of(worker, "interruptions")
    assert told["kind"] == "spot"
    assert NOTICE_S - SEEN_WITHIN_S < float(told["left_s"]) <= NOTICE_S
    assert lines_of(worker, "drain_ms")


def test_a_transform_that_does_not_return_keeps_no_job_from_the_next_worker(instance):
    first = instance.start()
    instance.hold(first)
    held = instance.submit("slow")
    wait_for(lambda: instance.entered(first), what="the worker is in the job")
    waiting = [instance.submit("quick", priority="high") for _ in range(3)]
    instance.metadata.interrupt(in_s=NOTICE_S)
    assert wait_ended(first, timeout_s=NOTICE_S) == 0
    assert instance.row(held).attempt == 0

    instance.metadata.texts.pop("/latest/meta-data/spot/instance-action")
    instance.start()

    wait_succeeded(instance, held, *waiting)
    assert {instance.row(key).attempt for key in (held, *waiting)} == {1}


def test_a_model_that_hangs_before_its_first_job_does_not_keep_the_worker(tmp_path, aws):
    """Its warm-up never returns from native code, where no thread can be ended."""
    models = write_cold_models(tmp_path / "models")
    with running_instance(tmp_path, models, aws) as instance:
        worker = instance.start()
        cold = instance.submit("cold")
        wait_running(instance, cold)

        instance.metadata.interrupt(in_s=NOTICE_S)

        assert wait_ended(worker, timeout_s=NOTICE_S) == 0
        check_handed_back(instance, cold)


def test_what_ends_in_time_is_published_before_the_worker_goes(carried):
    instance = carried
    worker = instance.start()
    instance.hold(worker)
    key = instance.submit("slow")
    wait_for(lambda: instance.entered(worker), what="the worker is in the job")

    instance.metadata.interrupt(in_s=60)
    wait_for(lambda: lines_of(worker, "interruptions"), what="the notice is seen")
    instance.let_go(worker)

    assert wait_ended(worker, timeout_s=60 - SEEN_WITHIN_S) == 0
    assert (instance.row(key).status, instance.row(key).attempt) == ("succeeded", 1)


def test_a_recommendation_lets_the_worker_finish_and_take_nothing_new(carried):
    instance = carried
    worker = instance.start()
    instance.hold(worker)
    key = instance.submit("slow")
    wait_for(lambda: instance.entered(worker), what="the worker is in the job")
    instance.metadata.recommend_rebalance()
    wait_for(lambda: lines_of(worker, "interruptions"), what="the recommendation is seen")
    # a long call for messages that has begun may still take one, and gives it back
    later = instance.submit("quick")
    instance.let_go(worker)

    assert wait_ended(worker, timeout_s=30) == 0
    assert (instance.row(key).status, instance.row(key).attempt) == ("succeeded", 1)
    assert (instance.row(later).status, instance.row(later).attempt) == ("queued", 0)

    again = instance.start()  # on the same instance, where the recommendation stands
    wait_succeeded(instance, later)
    assert again.running()


def test_a_notice_after_a_recommendation_shortens_the_drain(instance):
    worker = instance.start()
    stuck = instance.submit_stuck()
    wait_running(instance, stuck)
    instance.metadata.recommend_rebalance()
    wait_for(lambda: lines_of(worker, "interruptions"), what="the recommendation is seen")
    assert worker.running()

    instance.metadata.interrupt(in_s=NOTICE_S)

    assert wait_ended(worker, timeout_s=NOTICE_S) == 0
    check_handed_back(instance, stuck)
    assert [line["kind"] for line in lines_of(worker, "interruptions")] == ["rebalance", "spot"]


def test_an_instance_that_its_group_terminates_is_let_go_when_the_worker_is_done(instance):
    with auto_scaling() as (url, calls):
        worker = instance.start(AWS_ENDPOINT_URL_AUTO_SCALING=url)
        key = instance.submit("quick")
        wait_succeeded(instance, key)
        assert calls == []

        instance.metadata.terminate()

        assert wait_ended(worker, timeout_s=30) == 0
        (call,) = calls
    assert call["Action"] == "CompleteLifecycleAction"
    assert call["InstanceId"] == instance.metadata.instance_id
    assert call["AutoScalingGroupName"] == "laneway-local-heavy"
    assert call["LifecycleHookName"] == "drain"
    assert call["LifecycleActionResult"] == "CONTINUE"


def test_the_signal_to_stop_is_a_drain_too(carried, request):
    instance = carried
    if "rabbitmq" in request.node.callspec.id and "LANEWAY_FAULT_JOBS" not in os.environ:
        pytest.skip("a part of `make test-faults`")
    worker = instance.start(DRAIN_S=10)
    stuck = instance.submit_stuck()
    wait_running(instance, stuck)

    worker.signal(signal.SIGTERM)

    assert wait_ended(worker, timeout_s=10) == 0
    check_handed_back(instance, stuck)


def test_a_worker_without_metadata_works_all_the_same(instance):
    instance.metadata.failing = frozenset({"/latest/api/token"})
    worker = instance.start()

    key = instance.submit("quick")

    wait_succeeded(instance, key)
    assert worker.running()
    assert ("PUT", "/latest/api/token", 500) in instance.metadata.requests
