from __future__ import annotations

import json
import threading

import pytest

from gpu_workers.interruption import LIFECYCLE_S, NOTICE_S, REBALANCE_S, Interruption, watch
from gpu_workers.metadata import MemoryMetadata, MetadataError

SPOT = "/latest/meta-data/spot/instance-action"
REBALANCE = "/latest/meta-data/events/recommendations/rebalance"
LIFECYCLE = "/latest/meta-data/autoscaling/target-lifecycle-state"
NOW = 1_788_990_400.0  # 2026-09-09T21:46:40Z
STARTED = {LIFECYCLE: "InService"}


def a_notice(at, action="terminate"):
    return json.dumps({"action": action, "time": at})


class Polls(threading.Event):
    """The `stop` of a watch that lasts as many polls as there are steps; each changes the metadata."""

    def __init__(self, clock, *steps):
        super().__init__()
        self._clock = clock
        self._steps = list(steps)

    def wait(self, timeout=None):
        self._clock.s += timeout
        if not self._steps:
            self.set()
        else:
            self._steps.pop(0)()
        return self.is_set()


class Clock:
    s = NOW

    def __call__(self):
        return self.s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def run(clock):
    """Watch through the steps; gives what was told, and the seconds without an answer."""

    def over(metadata, *steps):
        told, unreachable = [], []
        watch(
            metadata,
            told.append,
            Polls(clock, *steps),
            on_unreachable=unreachable.append,
            clock=clock,
            monotonic=clock,
        )
        return told, unreachable

    return over


def nothing():
    """A poll in which nothing has changed."""


def test_without_a_notice_nothing_is_told(run):
    assert run(MemoryMetadata(STARTED), nothing, nothing) == ([], [])


def test_a_spot_notice_is_told_with_its_time(run):
    metadata = MemoryMetadata(STARTED)

    told, _ = run(metadata, lambda: metadata.texts.update({SPOT: a_notice("2026-09-09T21:46:40Z")}))

    assert told == [Interruption(kind="spot", deadline=NOW)]


@pytest.mark.parametrize("action", ["terminate", "stop", "hibernate"])
def test_every_action_of_a_spot_notice_takes_the_instance(run, action):
    notice = a_notice("2026-09-09T21:46:40Z", action)

    told, _ = run(MemoryMetadata({SPOT: notice}))

    assert [item.kind for item in told] == ["spot"]


@pytest.mark.parametrize("text", ["", "soon", "[]", "{}", '{"time": 5}', '{"time": "late"}'])
def test_a_notice_without_a_readable_time_counts_as_two_minutes_once(run, text):
    told, _ = run(MemoryMetadata({SPOT: text}), nothing, nothing)

    assert told == [Interruption(kind="spot", deadline=NOW + NOTICE_S)]


def test_a_notice_that_stands_is_told_once(run):
    told, _ = run(MemoryMetadata({SPOT: a_notice("2026-09-09T21:46:40Z")}), nothing, nothing)

    assert len(told) == 1


def test_a_notice_that_comes_forward_is_told_again(run):
    metadata = MemoryMetadata({SPOT: a_notice("2026-09-09T21:50:00Z")})

    told, _ = run(
        metadata,
        lambda: metadata.texts.update({SPOT: a_notice("2026-09-09T21:49:00Z")}),
        lambda: metadata.texts.update({SPOT: a_notice("2026-09-09T21:55:00Z")}),
    )

    assert [item.deadline - NOW for item in told] == [200.0, 140.0]


def test_an_instance_that_its_group_terminates_has_what_the_hook_leaves(run):
    metadata = MemoryMetadata(STARTED)

    told, _ = run(metadata, lambda: metadata.texts.update({LIFECYCLE: "Terminated"}), nothing)

    assert told == [Interruption(kind="lifecycle", deadline=NOW + 5 + LIFECYCLE_S)]


@pytest.mark.parametrize("state", ["InService", "Standby", "Detached", "Warmed:Running"])
def test_other_states_of_the_group_are_no_interruption(run, state):
    assert run(MemoryMetadata({LIFECYCLE: state}))[0] == []


def test_a_group_that_terminates_the_instance_is_heeded_from_the_first_poll(run):
    told, _ = run(MemoryMetadata({LIFECYCLE: "Terminated:Wait"}))

    assert [item.kind for item in told] == ["lifecycle"]


def test_a_recommendation_to_move_leaves_time_for_what_is_under_way(run):
    metadata = MemoryMetadata(STARTED)

    told, _ = run(
        metadata, lambda: metadata.texts.update({REBALANCE: '{"noticeTime": "x"}'}), nothing
    )

    assert told == [Interruption(kind="rebalance", deadline=NOW + 5 + REBALANCE_S)]


def test_a_recommendation_that_stood_at_the_start_was_answered_before(run):
    """Else a worker that ECS starts again on the same instance would end at once, for ever."""
    assert run(MemoryMetadata({REBALANCE: '{"noticeTime": "x"}'}), nothing) == ([], [])


def test_a_new_recommendation_after_a_standing_one_is_told(run):
    metadata = MemoryMetadata({REBALANCE: '{"noticeTime": "x"}'})

    told, _ = run(metadata, lambda: metadata.texts.update({REBALANCE: '{"noticeTime": "y"}'}))

    assert [item.kind for item in told] == ["rebalance"]


def test_the_spot_notice_after_a_recommendation_is_told_too(run):
    metadata = MemoryMetadata(STARTED)

    told, _ = run(
        metadata,
        lambda: metadata.texts.update({REBALANCE: '{"noticeTime": "x"}'}),
        lambda: metadata.texts.update({SPOT: a_notice("2026-09-09T21:48:00Z")}),
    )

    assert [item.kind for item in told] == ["rebalance", "spot"]


class OneBroken(MemoryMetadata):
    """Answers every path but the ones in `broken`."""

    broken: tuple[str, ...] = ()

    def get(self, path):
        if path in self.broken:
            raise MetadataError(path)
        return super().get(path)


def test_a_path_that_fails_hides_no_notice_at_another(run):
    metadata = OneBroken({SPOT: a_notice("2026-09-09T21:46:40Z")})
    metadata.broken = (LIFECYCLE, REBALANCE)

    told, _ = run(metadata)

    assert [item.kind for item in told] == ["spot"]


def test_a_recommendation_during_the_first_failing_polls_counts_as_standing(run):
    metadata = OneBroken({REBALANCE: '{"noticeTime": "x"}'})
    metadata.broken = (REBALANCE,)

    assert run(metadata, lambda: setattr(metadata, "broken", ()), nothing)[0] == []


def test_an_unreachable_service_is_told_each_minute_and_the_watch_goes_on(run):
    metadata = MemoryMetadata({SPOT: a_notice("2026-09-09T21:46:40Z")})
    metadata.reachable = False

    def come_back():
        metadata.reachable = True

    told, unreachable = run(metadata, *[nothing] * 25, come_back, nothing)

    assert unreachable == [60.0, 120.0]
    assert [item.kind for item in told] == ["spot"]


def test_a_short_silence_of_the_service_is_not_told(run):
    metadata = MemoryMetadata(STARTED)

    def turn():
        metadata.reachable = not metadata.reachable

    assert run(metadata, turn, *[nothing] * 10, turn, nothing, turn, *[nothing] * 10)[1] == []
