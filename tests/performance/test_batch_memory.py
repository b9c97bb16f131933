"""Memory of splitter, worker and finisher does not grow with the lines of a batch.

CI's sizes are 10,000 and 100,000 lines, in chunks of 2 MiB; the benchmark takes a million.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

GROWTH_MAX = 1.2


def peak_bytes(models, step, lines, folder) -> int:
    folder.mkdir()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tests.fixtures.batch_memory", models, step, str(lines), folder],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        shutil.rmtree(folder)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
@pytest.mark.parametrize("step", ["split", "chunk", "finish"])
def test_ten_times_the_lines_take_no_more_memory(step, small_models, tmp_path):
    small = peak_bytes(small_models, step, 10_000, tmp_path / "small")
    large = peak_bytes(small_models, step, 100_000, tmp_path / "large")

    assert large <= GROWTH_MAX * small, (small, large)
