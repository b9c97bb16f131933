"""Thousands of jobs while the processes that work on them are killed at random.

LANEWAY_FAULT_JOBS   how many jobs: 150 in `make test`, 10,000 in `make test-faults`
LANEWAY_FAULT_SEED   what a failed run printed, to have the same jobs and the same kills again
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter, defaultdict
from datetime import datetime

import numpy as np
import pytest
from standardwebhooks import Webhook

from tests.faults.models import TOLERANCE
from tests.faults.process import BROKEN, say
from tests.faults.stage import wait_for
from tests.faults.storm import ACCEPTED, ALL_ACCEPTED, CANARY, MODEL, Storm
from tests.fixtures.invariants import check_settled
from tests.fixtures.job_desk import Desk
from tests.fixtures.receiver import reply

JOBS = int(os.environ.get("LANEWAY_FAULT_JOBS", "150"))
SEED = os.environ.get("LANEWAY_FAULT_SEED") or str(random.SystemRandom().getrandbits(32))
FULL = JOBS >= 1000
JOBS_PER_KILL = 80 if FULL else 25
WORKERS = 3 if FULL else 2
VICTIMS = {"worker": 6, "submitter": 1, "sweeper": 1, "webhooks": 2}
STALLED_S = 120
PROGRESS_S = 10
SETTLED_S_MAX = 600 if FULL else 120
REFUSED = 0.2
FRESH_S = 3


class Moody:
    """A receiver that answers some events with 500 when they come for the first time.

    Only fresh ones: an event that is older is at its second attempt, and the third is five minutes later.
    `ids`: by job, under which id and with which body its events came; their signatures were valid then.
    """

    def __init__(self, chance, reader):
        self.ids = defaultdict(set)
        self._chance = chance
        self._reader = reader
        self._refused = set()

    def __call__(self, request):
        event_id = request.headers["webhook-id"]
        event = self._reader.verify(request.body, request.headers)
        self.ids[event["data"]["id"]].add((event_id, request.body))
        ended = datetime.fromisoformat(event["timestamp"])
        fresh = int(request.headers["webhook-timestamp"]) - ended.timestamp() < FRESH_S
        if fresh and event_id not in self._refused and self._chance.random() < REFUSED:
            self._refused.add(event_id)
            return reply(500)
        return reply(200)


class Progress:
    """Says every ten seconds how far a storm is; `seen`: jobs when it was told last."""

    def __init__(self, count):
        self.seen = 0
        self._count = count
        self._began = self._told = time.monotonic()

    def tell(self, accepted, *, killed):
        self.seen, now = accepted, time.monotonic()
        if now - self._told < PROGRESS_S:
            return
        self._told = now
        rate = accepted / (now - self._began)
        left_s = (self._count - accepted) / rate
        say(
            f"  {accepted:,} of {self._count:,} accepted, {killed} killed, "
            f"{rate:.1f} a second, about {left_s:.0f} s to go"
        )


class Weather:
    """Keeps the processes of a storm running, and kills them."""

    def __init__(self, stage, storm):
        self.stage = stage
        self.storm = storm
        self.chance = random.Random(storm.seed)  # noqa: S311  to be had again
        self.running = [stage.start("worker") for _ in range(WORKERS)]
        self.running += [stage.start("sweeper"), stage.start("webhooks")]
        self.submitter = self._submit(0)
        self.accepted = 0
        self.killed = Counter()

    def blow(self):
        """Kill a process every so many jobs, until all are accepted."""
        moved_at, next_kill, shown = time.monotonic(), JOBS_PER_KILL, Progress(self.storm.count)
        while not self.listen():
            if self.accepted > shown.seen:
                moved_at = time.monotonic()
                shown.tell(self.accepted, killed=self.killed.total())
            stalled = time.monotonic() - moved_at > STALLED_S
            assert not stalled, f"no job in {STALLED_S} s past {self.accepted}"
            if self.accepted >= next_kill:
                self._kill_one()
                next_kill += self.chance.randint(JOBS_PER_KILL // 2, JOBS_PER_KILL * 3 // 2)
            self.stage.check_alive()
            time.sleep(self.chance.uniform(0.1, 0.4))

    def listen(self):
        """Hear from the submitter how many jobs it has accepted; whether these are all."""
        said = self.submitter.new_lines()
        counted = [int(line.rpartition(" ")[2]) for line in said if line.startswith(ACCEPTED)]
        self.accepted = max(self.accepted, *(number + 1 for number in counted), 0)
        return ALL_ACCEPTED in said

    def _kill_one(self):
        role = self.chance.choices(list(VICTIMS), list(VICTIMS.values()))[0]
        ready = [child for child in (*self.running, self.submitter) if child.ready()]
        victims = [child for child in ready if child.role == role] or ready
        if not victims:
            return
        victim = self.chance.choice(victims)
        victim.kill()
        if victim is self.submitter:
            self.listen()
        self.killed[victim.role] += 1
        if victim is self.submitter:
            self.submitter = self._submit(self.accepted)
        else:
            self.running[self.running.index(victim)] = self.stage.start(victim.role)

    def _submit(self, first):
        return self.stage.start("submitter", **self.storm.to_env(first))


@pytest.mark.timeout(2400 if FULL else 240)
def test_every_job_of_a_storm_ends_once_with_the_answer_of_the_realtime_call(stage, hooks):
    say(f"LANEWAY_FAULT_SEED={SEED} LANEWAY_FAULT_JOBS={JOBS}")
    moody = Moody(random.Random(SEED), Webhook(stage.secret))  # noqa: S311  to be had again
    hooks.judge = moody
    port_url = f"https://127.0.0.1:{hooks.port}/hook"
    storm = Storm(seed=SEED, count=JOBS, webhook=port_url)
    began = time.monotonic()
    weather = Weather(stage, storm)

    weather.blow()
    blown_s = time.monotonic() - began
    rows = wait_for(
        lambda: settled_rows(stage), what="every job ends", timeout_s=SETTLED_S_MAX, pause_s=1
    )

    kept = {plan.key: plan for plan in storm.plans}
    counts = check_settled(rows, kept, now=time.time(), queue_depth=stage.queue.depth())
    assert len(rows) == JOBS
    check_ends(rows, weather)
    alone = check_values(stage, rows, kept)
    told = check_webhooks(rows, hooks, moody)
    check_logs(stage)
    say(f"{dict(counts)}; killed {dict(weather.killed)}; {alone} ran alone; {told} deliveries")
    say(f"accepted in {blown_s:.0f} s, settled in {time.monotonic() - began:.0f} s")
    assert sum(weather.killed.values()) >= JOBS // JOBS_PER_KILL // 2


def settled_rows(stage):
    """The rows when nothing is left to do; else None."""
    if stage.queue.depth() or stage.events.depth():
        return None
    rows = stage.rows()
    open_rows = [row for row in rows if row.finished_at is None or row.webhook_unsent]
    return None if open_rows else rows


def check_ends(rows, weather):
    """No job failed but by losing every worker that it had; most succeeded."""
    failed = [row for row in rows if row.status == "failed"]
    assert {row.failure.code for row in failed} <= {"attempts_exhausted"}
    assert all(row.attempt == row.max_attempts for row in failed)
    assert len(failed) * 3 <= weather.killed["worker"] * 10
    assert not [row for row in rows if row.status == "expired"]
    succeeded = sum(row.status == "succeeded" for row in rows)
    assert succeeded >= len(rows) * 0.9


def check_values(stage, rows, plans):
    """Bit for bit where the job ran alone, within the tolerance where stacked; gives how many alone."""
    realtime = Desk(stage.models)
    alone = 0
    for row in rows:
        if row.status != "succeeded":
            continue
        made = stage.result(row)
        meant = realtime.realtime(plans[row.key].body, model=MODEL)
        if row.facts.rows_stacked == 1:
            alone += 1
            assert made == meant, row.key
        else:
            check_close(json.loads(made), json.loads(meant), row.key)
    return alone


def check_close(made, meant, key):
    """Of a JSON answer with one tensor `(rows, 3)`: everything equal but for the values."""
    values, expected = (np.array(answer["outputs"][0].pop("data")) for answer in (made, meant))
    assert made == meant, key
    assert values.shape == expected.shape, key
    scale = np.abs(expected).reshape(-1, 3).max(axis=1).repeat(3).reshape(expected.shape)
    assert (np.abs(values - expected) <= TOLERANCE * scale).all(), key


def check_webhooks(rows, hooks, moody):
    """Each was told at least once, always under one id; gives how many deliveries there were."""
    due = {row.key.id: row for row in rows if row.webhook}
    assert set(moody.ids) == set(due)
    for job_id, seen in moody.ids.items():
        [(event_id, body)] = seen
        assert event_id == f"evt_{job_id}_{due[job_id].status}"
        assert json.loads(body)["type"] == f"job.{due[job_id].status}"
    signed = {request.headers["webhook-id"] for request in hooks.received}
    assert len(signed) == len(due)
    return len(hooks.received)


def check_logs(stage):
    """No message went before its job had ended, no job's end was published twice, nothing leaked."""
    worker = stage.logs("worker")
    assert BROKEN not in worker
    ends = Counter()
    for line in worker.splitlines():
        said = read_line(line)
        if said.get("outcome") in ("succeeded", "failed"):
            ends[said["job_id"]] += 1
    assert [job for job, times in ends.items() if times > 1] == []
    assert stage.dead.depth() == 0
    everything = worker + stage.logs("sweeper") + stage.logs("webhooks")
    assert "Traceback" not in everything
    assert CANARY not in everything
    assert stage.secret not in everything


def read_line(line):
    """A log line; empty for any other, and for one that its process did not live to finish."""
    try:
        return json.loads(line) if line.startswith("{") else {}
    except json.JSONDecodeError:
        return {}
