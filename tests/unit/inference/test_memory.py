"""The ceiling of memory, and what is done when a model that was dropped did not give back what it took."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="macOS holds no ceiling")

PROCESS = """
import sys
from types import SimpleNamespace

from shared.inference.memory import hold_below, recover
from shared.inference.sessions import Sessions

MIB = 1 << 20

def load(name, version):
    return SimpleNamespace(size_bytes=1, data=bytearray(held_mib * MIB))

held_mib = int(sys.argv[1])
sessions = Sessions(load, budget_bytes=10, estimate_bytes=lambda *_: 1)
hold_below(1000 * MIB)
try:
    bytearray(900 * MIB)
except MemoryError:
    print("refused")
for name in ("culprit", "other"):
    sessions.get(name, "1")
kept = bytearray(int(sys.argv[2]) * MIB)  # by somebody else, who does not let go
sessions.drop("culprit", "1")
try:
    recover(sessions)
finally:
    print(*(name for name, _ in sessions.loaded()), sessions.spent)
"""


@pytest.mark.parametrize(
    ("held_mib", "kept_mib", "loaded", "ends"),
    [(200, 0, "other False", False), (100, 600, "False", False), (1, 750, "False", True)],
    ids=["what it took came back", "the others go too", "the process ends"],
)
def test_as_much_is_dropped_as_it_takes(held_mib, kept_mib, loaded, ends):
    done = subprocess.run(
        [sys.executable, "-c", PROCESS, str(held_mib), str(kept_mib)],
        cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.stdout.splitlines() == ["refused", loaded]
    assert (done.returncode != 0) is ends
    assert ("a new process starts without it" in done.stderr) is ends
