"""The long-lived worker with a full queue, against `session.run` on tensors that are there already.

Arguments: the pipe to report to, the folders to import from (the project first), the model, the number
of blocks, seconds a block, threads of a run. Stores and queues are in memory; both ways run the same
session, in turn. The floor takes the best of several batch sizes.
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
from statistics import mean, median
from types import SimpleNamespace

pipe, folders, name, blocks, block_s, threads = sys.argv[1:]
sys.path[:0] = folders.split(":")

import numpy as np  # found only on the path set above
import orjson

from gpu_workers.core import Core
from gpu_workers.worker import GpuWorker
from shared.catalog import parse_catalog
from shared.inference.loading import open_sessions
from shared.inference.warming import warm_up
from shared.jobs.answers import prepare
from shared.jobs.clock import system_clock
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
from shared.settings.jobs import JobSettings

ROOT = Path(folders.split(":")[0])
SIZES = (1, 2, 4, 8, 16, 32)
STACKS_MIN = 8
WARM, COOL = 0.25, 0.9
"""Of the jobs of a block, the shares between whose ends the worker's rate is taken: its pipeline is full."""


class Ends:
    """When each job ended, and how many ran beside it."""

    def __init__(self) -> None:
        self.at_s: list[float] = []
        self.stacked: list[int] = []

    def job(self, facts) -> None:
        """None of them is handed back, comes twice or is lost."""
        raise AssertionError(facts)

    def ended(self, facts) -> None:
        """Note the ends."""
        assert all(one.outcome == "succeeded" for one in facts), facts
        self.at_s += [time.perf_counter()] * len(facts)
        self.stacked += [one.run.rows_stacked for one in facts]

    def defect(self, error, row) -> None:
        """None may be met."""
        raise AssertionError(row) from error


def main() -> None:
    bench = Bench()
    bench.block(1)
    taken = [bench.block(None) for _ in range(int(blocks))]
    report = {key: [block[key] for block in taken] for key in taken[0]}
    bench.worker.drain(5.0)
    os.write(int(pipe), marshal.dumps((time.monotonic_ns(), report)))


class Bench:
    """One pool of one model with its queue, a worker that runs, and its bare session."""

    def __init__(self) -> None:
        repository = read_repository(ROOT / "models")
        repository = replace(repository, models={name: repository.models[name]})
        compiled = {**compile_catalog(repository), "validators": export_validators()}
        catalog = parse_catalog(json.loads(json.dumps(compiled)))
        self.model, _ = catalog.find(name)
        self.body = _one_row()
        self.queues = {
            kind: MemoryQueue(clock=system_clock) for kind in queues_of(self.model.compute)
        }
        self.store = MemoryJobStore(clock=system_clock)
        self.ends = Ends()
        common = {
            "catalog": catalog,
            "store": self.store,
            "payloads": MemoryPayloadStore(),
            "queues": {(self.model.pool, kind): queue for kind, queue in self.queues.items()},
            "rules": JobRules.of(JobSettings(stage="bench", bucket="memory")),
            "clock": system_clock,
        }
        self.jobs = Jobs(**common)
        sessions = open_sessions(ROOT, catalog, budget_bytes=1 << 32, threads=int(threads))
        worker = Worker(
            pool=self.model.pool,
            sessions=sessions,
            jobs=self.jobs,
            validate=load_validators(catalog.validators).inference_request,
            parallel=Parallel(threads=1),  # the stores never wait
            reporter=self.ends,
            **common,
        )
        self.served = sessions.use(name, self.model.default_version).model
        warm_up(self.served.session, (1, self.model.max_batch_size))
        self.fetch = self.served.session.output_names
        self.session = self.served.session._session  # noqa: SLF001  the bare session, as a user would have it
        work = SimpleNamespace(row=SimpleNamespace(input=SimpleNamespace(header_length=None)))
        self.feeds = prepare(worker, self.served, work, self.body).feeds
        self.size, self.floor_s = self._best_size()
        core = Core(worker=worker, queues=self.queues, owner="bench", lease_s=600, wait_s=0.2)
        self.worker = GpuWorker(core)
        threading.Thread(target=self.worker.run, name="worker", daemon=True).start()
        core.warm.wait(60)

    def block(self, count: int | None) -> dict[str, float]:
        """Microseconds a row of both ways, one after the other."""
        count = count or int(float(block_s) / self.floor_s)
        count = max(STACKS_MIN, count // self.model.max_batch_size) * self.model.max_batch_size
        floor = self._bare_us(count)
        worker = self._worker_us(count)
        bare_again = self._bare_us(count)
        return {
            "worker_us": worker,
            "floor_us": (floor + bare_again) / 2,
            "size": self.size,
            "stacked": mean(self.ends.stacked),
            "busy": self.busy,
        }

    def _best_size(self) -> tuple[int, float]:
        """The batch size with the least time a row, and that time."""
        found = []
        for size in SIZES:
            feeds = _repeated(self.feeds, size)
            times = []
            until = time.perf_counter() + float(block_s) / 2
            while len(times) < 3 or time.perf_counter() < until:
                started = time.perf_counter()
                self.session.run(self.fetch, feeds)
                times.append(time.perf_counter() - started)
            found.append((median(times) / size, size))
        per_row_s, size = min(found)
        return size, per_row_s

    def _bare_us(self, count: int) -> float:
        feeds = _repeated(self.feeds, self.size)
        runs = max(1, count // self.size // 2)
        started = time.perf_counter()
        for _ in range(runs):
            self.session.run(self.fetch, feeds)
        return (time.perf_counter() - started) * 1e6 / runs / self.size

    def _worker_us(self, count: int) -> float:
        """From the end of the first quarter of the jobs to that of nine tenths, in whole stacks."""
        ends = self.ends
        ends.at_s.clear()
        ends.stacked.clear()
        core = self.worker.core
        core.gate.clear()
        for _ in range(count):
            self.jobs.submit(Submission(model=name, body=self.body), tenant="default")
        self.worker.device.busy.fraction()
        core.gate.set()
        core.wake()
        while len(ends.at_s) < count:
            time.sleep(0.02)
        self.busy = self.worker.device.busy.fraction()
        self.store._rows.clear()  # noqa: SLF001  what earlier blocks left would slow the next one's calls
        whole = self.model.max_batch_size
        first, last = (int(count * share) // whole * whole - 1 for share in (WARM, COOL))
        return (ends.at_s[last] - ends.at_s[first]) * 1e6 / (last - first)


def _repeated(feeds: dict, size: int) -> dict:
    return {key: np.concatenate([array] * size) for key, array in feeds.items()}


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
