"""The table of lanes, cell by cell."""

from __future__ import annotations

import pytest

from shared.catalog import Model, SessionSpec
from shared.errors import InvalidRequestError, UnsupportedClassError
from shared.routing.lane import (
    CPU_QUEUES,
    GPU_QUEUES,
    Lane,
    choose_lane,
    of_queue,
    queue_name,
    queues_of,
)

ALL = ("realtime", "async", "batch")


def model(compute="cpu", classes=ALL):
    return Model(
        name="m",
        description="",
        pool="heavy",
        latency_classes=classes,
        compute=compute,
        default_version="1",
        target_p99_ms=100,
        allow_non_finite=False,
        transform=None,
        session=SessionSpec(
            intra_op_threads=1, inter_op_threads=1, optimization="all", memory_arena=True
        ),
        max_batch_size=1,
        max_delay_ms=0,
        versions={},
    )


@pytest.mark.parametrize(
    ("compute", "latency_class", "lane"),
    [
        ("cpu", "realtime", Lane("realtime", "heavy", None)),
        ("cpu", "async", Lane("queue", "heavy", "async")),
        ("cpu", "batch", Lane("queue", "heavy", "batch")),
        ("gpu", "async", Lane("gpu", "heavy", "async")),
        ("gpu", "batch", Lane("gpu", "heavy", "batch")),
    ],
)
def test_compute_and_class_decide_the_lane(compute, latency_class, lane):
    assert choose_lane(model(compute), latency_class) == lane


def test_an_answer_on_the_spot_from_a_gpu_is_refused_with_the_way_out():
    with pytest.raises(UnsupportedClassError, match="respond-async, wait=20"):
        choose_lane(model("gpu"), "realtime")


@pytest.mark.parametrize("compute", ["cpu", "gpu"])
@pytest.mark.parametrize("missing", ALL)
def test_a_class_that_is_not_offered_is_refused_with_those_that_are(compute, missing):
    offered = tuple(name for name in ALL if name != missing)
    with pytest.raises(UnsupportedClassError) as refused:
        choose_lane(model(compute, offered), missing)
    assert refused.value.field == "latency_class"
    assert all(repr(name) in refused.value.message for name in offered)


@pytest.mark.parametrize("latency_class", ["async", "batch"])
def test_high_priority_is_a_queue_of_its_own_on_a_gpu(latency_class):
    lane = choose_lane(model("gpu"), latency_class, "high")
    assert lane == Lane("gpu", "heavy", f"{latency_class}-high")


@pytest.mark.parametrize("latency_class", ALL)
def test_high_priority_is_refused_on_a_cpu(latency_class):
    with pytest.raises(InvalidRequestError, match="models on a gpu") as refused:
        choose_lane(model("cpu"), latency_class, "high")
    assert refused.value.field == "priority"


def test_the_queues_of_a_pool_are_those_that_its_lanes_name():
    for compute, queues, priorities in (
        ("cpu", CPU_QUEUES, ["normal"]),
        ("gpu", GPU_QUEUES, ["normal", "high"]),
    ):
        named = {
            choose_lane(model(compute), latency_class, priority).queue
            for latency_class in ("async", "batch")
            for priority in priorities
        }
        assert queues_of(compute) == queues
        assert named == set(queues)


@pytest.mark.parametrize("queue", GPU_QUEUES)
def test_a_queue_says_the_class_and_the_priority_of_what_arrives_on_it(queue):
    assert queue_name(*of_queue(queue)) == queue
