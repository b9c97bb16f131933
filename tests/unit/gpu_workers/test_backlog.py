"""Which jobs run together, and when."""

from __future__ import annotations

import threading

import pytest

from gpu_workers.backlog import Backlog, Ready
from gpu_workers.hand import Held
from gpu_workers.rota import Rota
from gpu_workers.sizes import TRIALS, Sizes
from shared.queues.protocol import Delivery
from shared.routing.lane import GPU_QUEUES
from tests.fixtures.job_rows import ManualClock

DELAY_S = 0.02


@pytest.fixture
def clock():
    return ManualClock(1000.0)


@pytest.fixture
def backlog(clock):
    return Backlog(Rota(GPU_QUEUES), clock=clock)


def ready(clock, name="a", queue="async", *, kind="k", rows=1, rows_max=4, delay_s=DELAY_S):
    held = Held(queue, Delivery(body="", message_id=name, receipt=name), beat_s=0.0)
    return Ready(
        held=held, key=kind, rows=rows, rows_max=rows_max, delay_s=delay_s, since_s=clock()
    )


def names(stack):
    return "".join(item.held.delivery.message_id for item in stack)


def test_a_full_stack_runs_at_once_in_the_order_of_arrival(backlog, clock):
    backlog.add([ready(clock, name) for name in "abcdef"])
    assert names(backlog.next(0)) == "abcd"
    assert backlog.next(0) == []
    assert backlog.holds()


def test_a_stack_that_is_not_full_waits_for_its_delay_and_no_longer(backlog, clock):
    backlog.add([ready(clock, "a")])
    clock.advance(DELAY_S / 2)
    backlog.add([ready(clock, "b")])
    assert backlog.next(0) == []
    clock.advance(DELAY_S / 2)
    assert names(backlog.next(0)) == "ab"


def test_jobs_of_other_kinds_do_not_share_a_stack(backlog, clock):
    backlog.add([ready(clock, name, kind=kind) for name, kind in ("ax", "by", "cx", "dy")])
    clock.advance(DELAY_S)
    assert sorted([names(backlog.next(0)), names(backlog.next(0))]) == ["ac", "bd"]


def test_rows_count_and_not_jobs(backlog, clock):
    backlog.add([ready(clock, name, rows=rows) for name, rows in (("a", 2), ("b", 1), ("c", 3))])
    assert names(backlog.next(0)) == "ab"
    clock.advance(DELAY_S)
    assert names(backlog.next(0)) == "c"


def test_a_job_of_more_rows_than_are_stacked_runs_alone(backlog, clock):
    backlog.add([ready(clock, "a", rows=9), ready(clock, "b")])
    assert names(backlog.next(0)) == "a"


def test_what_cannot_be_stacked_runs_alone_and_is_due_when_its_delay_is_over(backlog, clock):
    backlog.add([ready(clock, name, kind=None) for name in "ab"])
    clock.advance(DELAY_S)
    assert [names(backlog.next(0)) for _ in range(2)] == ["a", "b"]


def test_room_in_a_stack_goes_to_the_same_kind_on_other_queues(backlog, clock):
    backlog.add([ready(clock, name, "batch") for name in "wxyz"])
    backlog.add([ready(clock, name, "async-high") for name in "ab"])
    clock.advance(DELAY_S)
    assert names(backlog.next(0)) == "abwx"
    assert names(backlog.next(0)) == "yz"


def test_the_upper_queue_runs_first_however_long_the_lower_one_has_waited(backlog, clock):
    backlog.add([ready(clock, "b", "batch", kind="other", delay_s=0)])
    clock.advance(60)
    backlog.add([ready(clock, "h", "async-high", delay_s=0)])
    assert names(backlog.next(0)) == "h"


def test_with_the_upper_queues_saturated_each_lower_one_has_one_run_in_ten(backlog, clock):
    runs = []
    for _ in range(60):
        for queue in GPU_QUEUES:
            if not any(backlog._groups[queue]):
                backlog.add([ready(clock, "a", queue, kind=queue, delay_s=0)])
        [item] = backlog.next(0)
        runs.append(item.held.queue)
    for start in range(len(runs) - 9):
        assert set(runs[start : start + 10]) == set(GPU_QUEUES)
    assert runs.count("async-high") == 0.7 * len(runs)


def test_next_wakes_up_for_what_is_added(backlog, clock):
    found = []
    thread = threading.Thread(target=lambda: found.append(backlog.next(20)))
    thread.start()
    backlog.add([ready(clock, "a", delay_s=0)])
    thread.join(10)
    assert [names(stack) for stack in found] == ["a"]


def test_take_all_leaves_nothing(backlog, clock):
    backlog.add([ready(clock, name, queue) for name, queue in (("a", "async"), ("b", "batch"))])
    assert names(backlog.take_all()) == "ab"
    assert not backlog.holds()


def learned(cost_s):
    """Sizes as they are after runs of stacks of up to four rows. `cost_s`: of a row, by the rows."""
    sizes = Sizes()
    for _ in range(3 * TRIALS):
        rows = sizes.rows_max("k", 4)
        sizes.note("k", rows=rows, cells=rows, took_s=rows * cost_s(rows), most=4)
    return sizes


def test_a_stack_is_full_with_as_many_rows_as_run_best(clock):
    backlog = Backlog(Rota(GPU_QUEUES), sizes=learned(float), clock=clock)
    backlog.add([ready(clock, name) for name in "ab"])

    assert names(backlog.next(0)) == "a"


def test_a_full_stack_that_is_all_there_is_runs_in_halves_where_that_costs_little(clock):
    backlog = Backlog(Rota(GPU_QUEUES), sizes=learned(lambda _: 1.0), clock=clock)
    backlog.add([ready(clock, name) for name in "abcd"])
    assert names(backlog.next(0)) == "ab"

    backlog.add([ready(clock, name) for name in "ef"])
    clock.advance(DELAY_S)
    assert names(backlog.next(0)) == "cd"

    backlog.add([ready(clock, name) for name in "ghijk"])
    assert names(backlog.next(0)) == "efgh"


def test_a_full_stack_runs_whole_where_halves_are_dear(clock):
    backlog = Backlog(Rota(GPU_QUEUES), sizes=learned(lambda rows: 1.0 / rows), clock=clock)
    backlog.add([ready(clock, name) for name in "abcd"])

    assert names(backlog.next(0)) == "abcd"
