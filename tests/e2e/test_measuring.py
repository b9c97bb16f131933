"""The measurement of a deployed stage runs against one: its calls, and the REPORT lines behind them."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.e2e.local_service import PROJECT

pytestmark = pytest.mark.deployed


def test_a_deployed_stage_is_measured_from_its_own_lines(service, tmp_path):
    (tmp_path / ".laneway").symlink_to(service.state, target_is_directory=True)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.on_aws",
            "--stage",
            "local",
            "--requests",
            "5",
            "--burst",
            "2",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    told = re.search(r"(\d+) REPORT lines of 8 calls", done.stdout)
    assert int(told[1]) >= 8  # tests beside this one call the model too
    counts = re.findall(r"^\| ([a-z][^|]*?) \| (\d+) \| ([\d.]+)", done.stdout, re.MULTILINE)
    by_name = {name: (int(count), float(p50_ms)) for name, count, p50_ms in counts}
    assert by_name["call, as its caller saw it"][0] == 5
    assert by_name["call, 2 at once"][0] == 2
    assert by_name["function"][1] > 0
