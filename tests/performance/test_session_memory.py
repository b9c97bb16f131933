"""A process with a budget for its models holds to it, however many models come and go."""

from __future__ import annotations

import subprocess
import sys

import pytest

from shared.limits import MIB

BUDGET_MIB = 16
GROWTH_MAX = 2.5 * BUDGET_MIB * MIB
"""The models, one on its way, and what runs take; where what evicted ones leave stays in the heap it is over four."""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_memory_stays_near_its_budget_while_models_make_room_for_others(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.fixtures.session_memory", tmp_path, str(BUDGET_MIB)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    grown_bytes, loads, in_memory = map(int, done.stdout.split())

    assert loads > 50
    assert 4 <= in_memory <= BUDGET_MIB * MIB // 2_000_000
    assert grown_bytes < GROWTH_MAX
