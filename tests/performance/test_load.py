"""Load is open: what is due is due, whoever is free; and every request is accounted for."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.harness.arrivals import Outcome, arrivals

ROOT = Path(__file__).parents[2]


def test_arrivals_are_random_at_the_rate_and_the_same_for_a_seed():
    times = list(arrivals(100.0, 50.0, seed=1))
    assert times == list(arrivals(100.0, 50.0, seed=1))
    assert times != list(arrivals(100.0, 50.0, seed=2))
    assert times == sorted(times)
    assert 0 < times[0] < times[-1] < 50.0
    assert len(times) == pytest.approx(5000, rel=0.05)


def test_what_was_sent_and_not_answered_is_lost():
    outcome = Outcome(rate=1.0, seconds=1.0, sent=5, refused=2)
    outcome.statuses.update([200, 200, 503])
    assert (outcome.answered, outcome.errors, outcome.lost) == (3, 1, 2)


def test_ten_times_what_one_environment_can_do_is_refused_and_nothing_is_lost():
    options = ("--model", "breast-cancer", "--rate", "400", "--seconds", "1", "--environments", "1")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    rows = [
        [float(cell) for cell in row.strip("| ").split("|")]
        for row in re.findall(r"^\| \d.*$", done.stdout, re.MULTILINE)
    ]
    for rate, requests, p50_ms, _, p99_ms, errors, refused, lost, _ in rows:
        assert 0 < p50_ms <= p99_ms
        assert (errors, lost) == (0, 0)
        assert 0 <= refused < requests
        assert requests == pytest.approx(rate, rel=0.3)
    assert [row[0] for row in rows] == [400, 4000]
    assert rows[1][6] > 0
