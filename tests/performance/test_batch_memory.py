"""Memory of splitter, worker and finisher does not grow with the lines of a batch.

In chunks of 2 MiB. Every run compares 10,000 with 100,000 lines; `make test-faults`, and whoever sets
LANEWAY_FAULT_JOBS, with a million.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

GROWTH_MAX = 1.2
SMALL = 10_000
FULL = "LANEWAY_FAULT_JOBS" in os.environ
LARGE = 1_000_000 if FULL else 100_000
TIMEOUT_S = 900 if FULL else 120


def peak_bytes(models, step, lines, folder) -> int:
    folder.mkdir()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tests.fixtures.batch_memory", models, step, str(lines), folder],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    finally:
        shutil.rmtree(folder)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
@pytest.mark.parametrize("step", ["split", "chunk", "finish"])
@pytest.mark.timeout(2 * TIMEOUT_S)
def test_many_more_lines_take_no_more_memory(step, small_models, tmp_path):
    small = peak_bytes(small_models, step, SMALL, tmp_path / "small")
    large = peak_bytes(small_models, step, LARGE, tmp_path / "large")

    assert large <= GROWTH_MAX * small, (small, large)
