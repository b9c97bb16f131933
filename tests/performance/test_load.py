"""Load is open: what is due is due, whoever is free; and every request is accounted for."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.harness import arriving_jobs, published
from benchmarks.harness.arrivals import Outcome, arrivals
from shared.queues.memory import MemoryQueue

ROOT = Path(__file__).parents[2]


def test_arrivals_are_random_at_the_rate_and_the_same_for_a_seed():
    times = list(arrivals(100.0, 50.0, seed=1))
    assert times == list(arrivals(100.0, 50.0, seed=1))
    assert times != list(arrivals(100.0, 50.0, seed=2))
    assert times == sorted(times)
    assert 0 < times[0] < times[-1] < 50.0
    assert len(times) == pytest.approx(5000, rel=0.05)


def test_what_was_sent_and_not_answered_is_lost():
    outcome = Outcome("function", rate=1.0, seconds=1.0, sent=5, refused=2)
    outcome.statuses.update([200, 200, 503])
    assert (outcome.answered, outcome.errors, outcome.lost) == (3, 1, 2)


def test_ten_times_what_one_environment_can_do_is_refused_and_nothing_is_lost():
    options = ["--model", "breast-cancer", "--rate", "400", "--seconds", "1"]
    options += ["--environments", "1", "--only", "realtime"]
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
        [float(cell) for cell in row.strip("| ").split("|")[1:]]
        for row in re.findall(r"^\| realtime function .*$", done.stdout, re.MULTILINE)
    ]
    for rate, _, requests, p50_ms, _, p99_ms, errors, refused, lost, _, _ in rows:
        assert 0 < p50_ms <= p99_ms
        assert (errors, lost) == (0, 0)
        assert 0 <= refused < requests
        assert requests == pytest.approx(rate, rel=0.3)
    assert [row[0] for row in rows] == [400, 4000]
    assert rows[1][7] > 0


@contextmanager
def taken(queue, group, ends):
    """Somebody takes jobs, and says of each what `ends` has for its number: the statuses of its ends, one after the other."""
    over = threading.Event()

    def take():
        numbers = itertools.count()
        while not over.is_set():
            for delivery in queue.receive(limit=10, wait_s=0.1):
                job = json.loads(delivery.body)["id"]
                for status in ends.get(next(numbers), [200]):
                    group.take([job, str(status), str(time.monotonic())])

    taker = threading.Thread(target=take, daemon=True)
    taker.start()
    yield
    over.set()
    taker.join(10)


def test_of_accepted_jobs_each_end_is_counted_once_and_what_has_none_is_lost():
    queue = MemoryQueue(clock=time.time)
    group = arriving_jobs.Workers(queue, patience_s=1.0)
    ends = {0: [], 1: [200, 200], 2: [500], 3: [0], 4: [0, 200]}

    with taken(queue, group, ends):
        outcome = group.hold("breast-cancer", rate=100.0, seconds=0.5)

    assert outcome.asked == outcome.sent > 20
    assert (outcome.lost, outcome.errors, outcome.twice, outcome.refused) == (2, 1, 1, 0)
    assert len(outcome.latencies_ms) == outcome.sent - 2
    assert outcome.as_json()["p50_ms"] > 0


def test_what_was_late_to_be_sent_was_late_to_its_caller():
    """A latency counts from when a job was due: not from when somebody found time to send it."""
    slow = SlowQueue(clock=time.time)
    group = arriving_jobs.Workers(slow, patience_s=5.0)
    with taken(slow, group, {}):
        outcome = group.hold("breast-cancer", rate=400.0, seconds=0.5)

    in_turn_ms = outcome.sent / arriving_jobs.SENDERS * SLOW_S * 1000
    assert outcome.lost == 0
    assert max(outcome.latencies_ms) > in_turn_ms / 2


SLOW_S = 0.1


class SlowQueue(MemoryQueue):
    """A broker whose confirm takes long."""

    def send(self, body, **told):
        time.sleep(SLOW_S)
        return super().send(body, **told)


def test_a_recorded_run_is_shown_on_the_page(tmp_path):
    outcome = Outcome("worker of jobs", rate=500.0, seconds=20.0, sent=4, refused=1, twice=1)
    outcome.statuses.update([200, 200, 500])
    outcome.latencies_ms += [10.0, 20.0, 30.0]
    about = {"cpu": "a cpu", "cores": 2, "date": "2026-01-01", "commit": "abc"}
    told = {"machine": about, "model": "m", "environments": 2, "workers": 1}
    (tmp_path / "load").mkdir()
    (tmp_path / "load" / "one.json").write_text(
        json.dumps({**told, "outcomes": [outcome.as_json()]})
    )
    pairs = "\n".join("\n".join(published.marks(name)) for name in published.SECTIONS)

    page = published.with_tables(pairs, tmp_path)

    assert "m; 2 environments of the function, 1 worker; a cpu" in page
    assert (
        "| worker of jobs | 500 | 20 | 5 | 20.0 | 29.0 | 29.8 | 1 | 1 | 1 (1 twice) | 0.0 |" in page
    )
