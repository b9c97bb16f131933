"""A worker's deliveries: jobs stacked against `session.run` one by one, and what the machinery adds.

Arguments: the pipe to report to, the folders to import from (the project first), the model, how many
jobs are in a delivery, the number of blocks, seconds a block. Stores and queues are in memory. Times
are the CPU's: every way has one thread, and none waits for anything.
"""

from __future__ import annotations

import marshal
import os
import sys
import time
from pathlib import Path
from statistics import median
from types import SimpleNamespace

pipe, folders, name, count, blocks, block_s = sys.argv[1:]
sys.path[:0] = folders.split(":")

import json  # after the path, as the others

import orjson  # found only on the path set above

from shared.catalog import parse_catalog
from shared.inference.batching import Stacker
from shared.inference.loading import open_sessions
from shared.inference.memory import resident_bytes
from shared.jobs.answers import prepare
from shared.jobs.clock import system_clock
from shared.jobs.columns import KnownWays
from shared.jobs.parallel import Parallel
from shared.jobs.rules import JobRules
from shared.jobs.run import JobRunner
from shared.jobs.stacking import Paces, Stacking
from shared.jobs.submission import Submission
from shared.jobs.submit import Jobs
from shared.jobs.work import Lease, Work, Worker
from shared.queues.memory import MemoryQueue
from shared.repository import compile_catalog, read_repository
from shared.results.memory import MemoryJobStore
from shared.results.payloads import MemoryPayloadStore
from shared.results.store import JobKey
from shared.schema.compile import export_validators
from shared.schema.compiled import load_validators
from shared.settings.jobs import JobSettings

ROOT = Path(folders.split(":")[0])
COUNT = int(count)
SILENT = SimpleNamespace(job=lambda *_: None, ended=lambda *_: None, defect=lambda *_: None)


def main() -> None:
    bench = Bench()
    warm_ups = 3 if int(blocks) > 1 else 0  # lazy imports, caches, the first run's allocations
    for _ in range(warm_ups):
        bench.block(rounds=1)
    taken = [bench.block(rounds=None) for _ in range(int(blocks))]
    report = {key: [block[key] for block in taken] for key in taken[0]}
    report["resident_mb"] = resident_bytes() / 1e6
    os.write(int(pipe), marshal.dumps((time.monotonic_ns(), report)))


class Ended:
    """Takes endings as the ledger does, and stores nothing."""

    def __init__(self) -> None:
        self.answers = []

    def publish(self, ended) -> None:
        """Keep the answers."""
        self.answers += [ending.body for _, ending in ended]

    def fail(self, failed) -> None:
        """Nothing fails here."""
        assert not failed


class Bench:
    """One pool of one model with its queue, and the same work without jobs around it."""

    def __init__(self) -> None:
        repository = read_repository(ROOT / "models")
        compiled = {**compile_catalog(repository), "validators": export_validators()}
        catalog = parse_catalog(json.loads(json.dumps(compiled)))
        self.model, _ = catalog.find(name)
        self.body = _one_row()
        self.store = MemoryJobStore(clock=system_clock)
        self.queue = MemoryQueue(clock=system_clock)
        queues = {(self.model.pool, "async"): self.queue}
        rules = JobRules.of(JobSettings(stage="bench", bucket="memory"))
        common = {
            "catalog": catalog,
            "store": self.store,
            "payloads": MemoryPayloadStore(),
            "queues": queues,
            "rules": rules,
            "clock": system_clock,
        }
        self.jobs = Jobs(**common)
        self.worker = Worker(
            pool=self.model.pool,
            sessions=open_sessions(ROOT, catalog, budget_bytes=1 << 30),
            jobs=self.jobs,
            validate=load_validators(catalog.validators).inference_request,
            parallel=Parallel(threads=1),  # the stores never wait
            reporter=SILENT,
            **common,
        )
        self.runner = JobRunner(self.worker)
        self.served = self.worker.sessions.use(name, self.model.default_version).model
        self.stacker = Stacker(self.served, rows_max=self.model.max_batch_size)
        self.prepared = self._prepare()
        self.paces, self.ways = Paces(), KnownWays()
        submission = Submission(model=name, body=self.body)
        self.rows = [
            self.jobs.new_row(submission, key=JobKey("default", str(number)), now=system_clock())
            for number in range(COUNT)
        ]

    def block(self, *, rounds: int | None) -> dict[str, float]:
        """Median microseconds per record of each way, taken in turn for `block_s` seconds."""
        ways = {
            "floor_us": self._one_by_one,
            "stacked_us": self._stacked,
            "worker_us": None,
            "delivery_us": None,
        }
        whole = {"worker_us": self._worker_us, "delivery_us": self._delivery_us}
        taken: dict[str, list[float]] = {key: [] for key in ways}
        until = time.perf_counter() + float(block_s)
        while not taken["floor_us"] or (rounds is None and time.perf_counter() < until):
            for key, way in ways.items():
                taken[key].append(whole[key]() if way is None else _timed_us(way))
        return {key: median(values) for key, values in taken.items()}

    def _one_by_one(self) -> None:
        """The floor: `session.run` for each record, on tensors that are there already."""
        run = self.served.session._session.run  # noqa: SLF001  the bare session, as a user would have it
        for request in self.prepared:
            run(request.fetch, request.feeds)

    def _stacked(self) -> None:
        """What replaces it: the same tensors planned, stacked, run and split."""
        self._run(self.prepared)

    def _worker_us(self) -> float:
        """What the worker does between a record's bytes and its answer's; nothing is stored."""
        works = [Work(position, row) for position, row in enumerate(self.rows)]
        ended = Ended()
        stacking = Stacking(
            self.worker, ended, self.paces, self.ways, until_s=time.monotonic() + 60
        )
        taken_us = _timed_us(lambda: stacking.run(works))
        assert len(ended.answers) == COUNT
        return taken_us

    def _prepare(self) -> list:
        row = SimpleNamespace(input=SimpleNamespace(header_length=None))
        work = SimpleNamespace(row=row)
        return [prepare(self.worker, self.served, work, self.body) for _ in range(COUNT)]

    def _run(self, prepared: list) -> list:
        deadline_s = time.monotonic() + 60
        done = []
        for stack in self.stacker.plan(prepared):
            members = [prepared[position] for position in stack]
            done += zip(members, self.stacker.run(members, deadline_s), strict=True)
        return done

    def _delivery_us(self) -> float:
        """The whole: a delivery of references, claimed, run, published, acknowledged."""
        keys = [
            self.jobs.submit(Submission(model=name, body=self.body), tenant="default").row.key
            for _ in range(COUNT)
        ]
        deliveries = self.queue.receive(limit=COUNT, wait_s=0)
        lease = Lease("bench", system_clock() + 60)

        def deliver() -> None:
            self.runner.run_delivery(
                deliveries, queue="async", lease=lease, until_s=time.monotonic() + 60
            )
            for delivery in deliveries:
                self.queue.acknowledge(delivery)

        taken_us = _timed_us(deliver)
        assert all(self.store.get(key).status == "succeeded" for key in keys)
        self.store._rows.clear()  # noqa: SLF001  what earlier deliveries left would slow the next ones' receive
        return taken_us


def _timed_us(call) -> float:
    start = time.process_time_ns()
    call()
    return (time.process_time_ns() - start) / 1000 / COUNT


def _one_row() -> bytes:
    golden = orjson.loads((ROOT / "models" / name / "golden.json").read_bytes())
    first = golden[0] if isinstance(golden, list) else golden
    inputs = [
        {
            **tensor,
            "shape": [1, *tensor["shape"][1:]],
            "data": tensor["data"][: len(tensor["data"]) // tensor["shape"][0]],
        }
        for tensor in first["request"]["inputs"]
    ]
    return orjson.dumps({"inputs": inputs})


main()
