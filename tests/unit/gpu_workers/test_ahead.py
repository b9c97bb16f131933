"""How far a worker looks ahead in a queue that many models share."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from gpu_workers.ahead import AHEAD_MAX, AHEAD_S, STACKS_AHEAD_MAX, Ahead, Kind
from gpu_workers.assembly import PREFETCH_MAX, prefetch


def ahead(*kinds, rows_max=8):
    models = {
        "large": SimpleNamespace(max_batch_size=rows_max),
        "s": SimpleNamespace(max_batch_size=2),
    }
    return Ahead(SimpleNamespace(models=models), lambda _queue: kinds).of("async")


def test_three_full_stacks_of_the_largest_model_wait_whatever_they_are_of():
    assert ahead() == 24
    assert ahead(Kind(8, 0.01)) == 24
    assert ahead(rows_max=1000) == STACKS_AHEAD_MAX


def test_each_further_kind_that_waits_has_a_stack_of_its_own():
    assert ahead(*[Kind(8, 0.01)] * 50) == 24 + 49 * 8
    assert ahead(Kind(8, 0.01), Kind(2, 0.01), Kind(1, 0.01)) == 24 + 2 + 1


def test_no_more_than_a_thousand_messages_are_held_however_many_kinds_wait():
    assert ahead(*[Kind(8, 0.0)] * 5000) == AHEAD_MAX


@pytest.mark.parametrize(("run_s", "further"), [(AHEAD_S * 2, 0), (AHEAD_S / 4, 4), (0.1, 49)])
def test_kinds_are_looked_past_while_one_run_of_each_ends_within_seconds(run_s, further):
    assert ahead(*[Kind(8, run_s)] * 50) == 24 + further * 8


def test_a_slow_kind_does_not_keep_quick_ones_from_running_together():
    assert ahead(Kind(8, 60.0), *[Kind(8, 0.01)] * 9) == 24 + 8 * 8


@pytest.mark.parametrize(
    ("sizes", "held"),
    [([8], 64), ([8] * 50, 64 + 49 * 8), ([64] * 50, PREFETCH_MAX), ([128], 1024)],
)
def test_a_broker_that_pushes_may_give_a_stack_of_each_further_model_too(sizes, held):
    models = {str(n): SimpleNamespace(max_batch_size=size) for n, size in enumerate(sizes)}
    assert prefetch(SimpleNamespace(models=models)) == held
