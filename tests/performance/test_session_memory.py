"""A process with a budget for its models holds to it, however many models come and go."""

from __future__ import annotations

import subprocess
import sys

import pytest

from shared.limits import MIB

BUDGET_MIB = 16
GROWTH_MAX = 2.5 * BUDGET_MIB * MIB
"""The models, one on its way, and what runs take; where what evicted ones leave stays in the heap it is over four."""


MODELS_BYTES = 20 * 2_000_000


def measured(fixture, *arguments):
    """What one of the fixtures prints, from a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.fixtures.{fixture}", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return map(int, done.stdout.split())


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_memory_stays_near_its_budget_while_models_make_room_for_others(tmp_path):
    grown_bytes, loads, in_memory = measured("session_memory", tmp_path, BUDGET_MIB)

    assert loads > 50
    assert 4 <= in_memory <= BUDGET_MIB * MIB // 2_000_000
    assert grown_bytes < GROWTH_MAX


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_what_a_load_leaves_is_given_back_before_the_model_is_counted(tmp_path):
    """Without that both are more than twice the models."""
    grown_bytes, counted_bytes = measured("loaded_memory", tmp_path)

    assert MODELS_BYTES < counted_bytes < 1.6 * MODELS_BYTES
    assert grown_bytes < 1.6 * MODELS_BYTES
