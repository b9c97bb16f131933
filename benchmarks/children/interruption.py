"""A worker whose instance is taken away: from the notice in its metadata until nothing is in hand.

Arguments: the pipe to report to, the folders to import from (the project first), the model, and what the
worker is at: `full` (one-row jobs, more than it takes in hand) or `long` (runs that cannot end in time).
Stores and queues are in memory, the metadata is served over HTTP, the watcher is the one that is deployed.
"""

from __future__ import annotations

import json
import marshal
import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

pipe, folders, name, what = sys.argv[1:]
sys.path[:0] = folders.split(":")

import orjson  # found only on the path set above

from cli.testing.metadata import FakeMetadata, serve_metadata
from gpu_workers.core import Core
from gpu_workers.interruption import POLL_S
from gpu_workers.metadata import InstanceMetadata
from gpu_workers.watcher import Watcher
from gpu_workers.worker import GpuWorker
from shared.catalog import parse_catalog
from shared.inference.loading import open_sessions
from shared.jobs.clock import system_clock
from shared.jobs.facts import MemoryReporter
from shared.jobs.parallel import Parallel
from shared.jobs.rules import JobRules
from shared.jobs.submission import Submission
from shared.jobs.submit import Jobs
from shared.jobs.work import Worker
from shared.queues.memory import MemoryQueue
from shared.repository import compile_catalog, read_repository
from shared.results.memory import MemoryJobStore
from shared.results.payloads import MemoryPayloadStore
from shared.routing.lane import queues_of
from shared.schema.compile import export_validators
from shared.schema.compiled import load_validators
from shared.schema.status import TERMINAL
from shared.settings.jobs import JobSettings

ROOT = Path(folders.split(":")[0])
FULL = what == "full"
JOBS, ROWS = (200, 1) if FULL else (5, 32)
NOTICE_S = 120 if FULL else 1
"""A real notice's time; and one that is over before a run of 32 rows is."""
POLLED_S = POLL_S if FULL else 0.05
POLL_REQUESTS = 4
"""Of the first poll: a token and three paths."""
UNTIL_S = 100.0


def main() -> None:
    worker, store, queue = make_worker()
    seen = threading.Event()
    seen_at = [0.0]

    def drain(left_s: float) -> None:
        seen_at[0] = time.monotonic()
        worker.drain(left_s)
        seen.set()

    running = threading.Thread(target=worker.run, daemon=True)
    running.start()
    wait(lambda: any(row.status == "succeeded" for row in rows(store)))
    wait(lambda: FULL or worker.device._current)  # noqa: SLF001  the long run is on
    with serve_metadata(FakeMetadata()) as metadata:
        client = InstanceMetadata(metadata.url)
        watcher = Watcher(client, drain=drain, report=lambda *_, **__: None, poll_s=POLLED_S)
        watcher.start()
        wait(lambda: len(metadata.requests) == POLL_REQUESTS)  # the notice just misses a poll
        noticed_at = time.monotonic()
        metadata.interrupt(in_s=NOTICE_S)
        seen.wait(UNTIL_S)
        wait(lambda: not len(worker.core.hand), pause_s=0.002)
        empty_at = time.monotonic()
        running.join(UNTIL_S)
        ended_at = time.monotonic()
        watcher.finish()
    assert not running.is_alive()
    assert worker.failure is None
    report = {
        "seen_s": seen_at[0] - noticed_at,
        "empty_s": empty_at - noticed_at,
        "ended_s": ended_at - noticed_at,
        "over_s": empty_at - worker.device.limit_s,
        **counts(store, queue),
    }
    os.write(int(pipe), marshal.dumps((time.monotonic_ns(), report)))
    os._exit(0)


def counts(store: MemoryJobStore, queue: MemoryQueue) -> dict[str, float]:
    """What became of the jobs; each that has not ended is uncharged, and its message can be received."""
    left = [row for row in rows(store) if row.status not in TERMINAL]
    assert {(row.status, row.attempt, row.lease_owner) for row in left} <= {("queued", 0, None)}
    visible = 0
    while taken := queue.receive(limit=100, wait_s=0):
        visible += len(taken)
    assert visible == len(left), (visible, len(left))
    return {"finished": float(JOBS - len(left)), "left": float(len(left))}


def rows(store: MemoryJobStore) -> list:
    """Every job of the store."""
    return list(store.list("default", limit=1000).rows)


def wait(condition, *, pause_s: float = 0.02) -> None:
    """Until the condition holds; fails after a time in which it must have."""
    end = time.monotonic() + UNTIL_S
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(pause_s)


def make_worker() -> tuple[GpuWorker, MemoryJobStore, MemoryQueue]:
    """A worker over its model's pool, with the jobs on the queue `async`."""
    repository = read_repository(ROOT / "models")
    repository = replace(repository, models={name: repository.models[name]})
    compiled = {**compile_catalog(repository), "validators": export_validators()}
    catalog = parse_catalog(json.loads(json.dumps(compiled)))
    model, _ = catalog.find(name)
    queues = {
        kind: MemoryQueue(clock=system_clock, visibility_s=600) for kind in queues_of(model.compute)
    }
    store = MemoryJobStore(clock=system_clock)
    common = {
        "catalog": catalog,
        "store": store,
        "payloads": MemoryPayloadStore(),
        "queues": {(model.pool, kind): queue for kind, queue in queues.items()},
        "rules": JobRules.of(JobSettings(stage="bench", bucket="memory")),
        "clock": system_clock,
    }
    jobs = Jobs(**common)
    worker = Worker(
        pool=model.pool,
        sessions=open_sessions(ROOT, catalog, budget_bytes=1 << 32),
        jobs=jobs,
        validate=load_validators(catalog.validators).inference_request,
        parallel=Parallel(threads=4),
        reporter=MemoryReporter(),
        **common,
    )
    for count in (1, *[ROWS] * (JOBS - 1)):
        jobs.submit(Submission(model=name, body=request_of(count)), tenant="default")
    core = Core(worker=worker, queues=queues, owner="bench", lease_s=60)
    return GpuWorker(core), store, queues["async"]


def request_of(count: int) -> bytes:
    """The model's golden request with its first row so many times."""
    golden = orjson.loads((ROOT / "models" / name / "golden.json").read_bytes())
    (tensor,) = golden["request"]["inputs"]
    data = tensor["data"][:1] * count
    return orjson.dumps({"inputs": [{**tensor, "shape": [count], "data": data}]})


main()
