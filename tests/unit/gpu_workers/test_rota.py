"""The order of queues, and that none of them starves."""

from __future__ import annotations

from collections import Counter

import pytest

from gpu_workers.core import ORDER
from gpu_workers.rota import CYCLE, Rota


def test_the_first_queue_that_waits_is_taken():
    rota = Rota(ORDER)
    assert rota.choose({"batch", "async"}) == "async"
    assert rota.choose({"batch"}) == "batch"
    assert rota.choose(set()) is None


@pytest.mark.parametrize("count", range(1, len(ORDER) + 1))
def test_any_ten_runs_serve_every_queue_that_waits(count):
    queues = ORDER[:count]
    rota = Rota(queues)
    runs = [rota.choose(set(queues)) for _ in range(100)]
    for start in range(len(runs) - CYCLE + 1):
        assert set(runs[start : start + CYCLE]) == set(queues)
    served = Counter(runs)
    assert served[queues[0]] == 100 - 10 * (count - 1)


def test_a_turn_that_a_queue_does_not_need_goes_to_the_first_one_that_waits():
    rota = Rota(ORDER)
    assert {rota.choose({"async-high"}) for _ in range(CYCLE)} == {"async-high"}


def test_nothing_is_taken_from_turns_while_nothing_waits():
    rota, other = Rota(ORDER), Rota(ORDER)
    for _ in range(7):
        rota.choose(set())
    everything = set(ORDER)
    assert [rota.choose(everything) for _ in range(CYCLE)] == [
        other.choose(everything) for _ in range(CYCLE)
    ]
