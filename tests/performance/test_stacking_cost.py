"""Stacking pays: ratios in one process, and the benchmark of the queue lane still runs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from shared.catalog import parse_catalog
from shared.inference.batching import Stacker
from shared.inference.loading import load_model
from shared.inference.pipeline import Prepared
from shared.repository import compile_catalog, read_repository
from shared.schema.compile import export_validators

ROOT = Path(__file__).parents[2]
RATIO_MAX = 0.8
"""Bar Q1."""


@pytest.fixture(scope="module")
def served():
    compiled = compile_catalog(read_repository(ROOT / "models"))
    catalog = parse_catalog(json.loads(json.dumps({**compiled, "validators": export_validators()})))
    return load_model(ROOT, *catalog.find("breast-cancer", "2"))


@pytest.mark.parametrize("count", [10, 100])
def test_stacked_records_cost_less_than_one_run_each(served, count):
    rows = np.random.default_rng(0).random((count, 30), np.float32)
    fetch = served.session.output_names
    requests = [Prepared({"features": row[None]}, fetch, (), None) for row in rows]
    stacker = Stacker(served, rows_max=256)

    def one_by_one():
        for request in requests:
            served.session.run(request.feeds, fetch, time.monotonic() + 60)

    def stacked():
        for stack in stacker.plan(requests):
            stacker.run([requests[position] for position in stack], time.monotonic() + 60)

    taken = [(_seconds(stacked), _seconds(one_by_one)) for _ in range(200)]
    best_stacked_s, best_alone_s = map(min, zip(*taken, strict=True))

    assert best_stacked_s / best_alone_s <= RATIO_MAX


def _seconds(call):
    """Of this thread's own work, in which the session runs too: other tests share the machine."""
    started_s = time.thread_time()
    call()
    return time.thread_time() - started_s


def test_the_machinery_s_benchmark_runs(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks",
            "--quick",
            "--only",
            "Q2",
            "--name",
            "smoke",
            "--output",
            str(tmp_path),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    [figure] = json.loads((tmp_path / "smoke.json").read_text())["figures"]
    assert figure["key"] == "Q2"
    assert figure["value"]["median"] > 0
