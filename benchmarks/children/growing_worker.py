"""The long-lived worker with so many models and so many jobs in flight, each followed by the next when it ends.

Arguments: the pipe to report to, the folders to import from (the project first), the repository (a folder
`models`), how many of its models, jobs in flight, jobs in all, MiB of sessions. Table, payloads and queue are in
memory. Of the models the first is asked most, the n-th an n-th as often.
"""

from __future__ import annotations

import itertools
import marshal
import os
import random
import sys
import threading
import time
import traceback
from pathlib import Path
from statistics import mean

pipe, folders, repository, models, in_flight, jobs, sessions_mib = sys.argv[1:]
sys.path[:0] = folders.split(":")

import orjson  # found only on the path set above

from benchmarks.children.memory_worker import QUEUE, assemble, catalog_of
from benchmarks.harness.many_models import POOL, ROWS_MAX, name_of, request_of
from gpu_workers.core import Core
from gpu_workers.worker import GpuWorker
from shared.inference.loading import open_sessions
from shared.inference.memory import resident_bytes
from shared.inference.warming import warm_up
from shared.jobs.clock import system_clock
from shared.jobs.submission import Submission
from shared.queues.memory import MemoryQueue

JOBS = int(jobs)
WARM, COOL = JOBS // 4, JOBS * 9 // 10
"""Between these ends of jobs the rate is taken."""
WAIT_S_MAX = 120.0
MB = 1_000_000


class Ends:
    """When each job ended; submits the next one for each."""

    def __init__(self, submit):
        self._submit = submit
        self._lock = threading.Lock()
        self.began_s = {}
        self.at_s, self.cpu_s, self.latencies_ms, self.stacked = [], [], [], []
        self.done = threading.Event()

    def start(self, number):
        """Submit a job."""
        self.began_s[str(number)] = time.perf_counter()
        self._submit(number)

    def job(self, facts):
        """None is handed back, comes twice or is lost."""
        raise AssertionError(facts)

    def ended(self, facts):
        """Note the ends, and submit as many more."""
        now_s, cpu_s = time.perf_counter(), time.process_time()
        with self._lock:
            for one in facts:
                assert one.outcome == "succeeded", one
                self.latencies_ms.append((now_s - self.began_s.pop(one.row.key.id)) * 1000)
                self.stacked.append(one.run.rows_stacked)
                self.at_s.append(now_s)
                self.cpu_s.append(cpu_s)
            if len(self.at_s) >= JOBS:
                self.done.set()
        for _ in facts:
            self.start(next(NUMBERS))

    def defect(self, error, row):  # noqa: ARG002  the error says enough here
        """None may be met: the process ends."""
        traceback.print_exception(error)
        os._exit(1)


NUMBERS = itertools.count()


def main():
    names = [name_of(number) for number in range(int(models))]
    catalog = catalog_of(*names, folder=Path(repository))
    queue = MemoryQueue(clock=system_clock)
    queues = {(POOL, QUEUE): queue}
    loads = itertools.count()

    def then(served):
        next(loads)
        warm_up(served.session, (1, ROWS_MAX))

    sessions = open_sessions(
        Path(repository).parent,
        catalog,
        budget_bytes=int(sessions_mib) << 20,
        then=then,
        settle=True,
    )
    asked = random.Random(0)  # noqa: S311  to be had again
    weights = [1 / (place + 1) for place in range(len(names))]
    bodies = [orjson.dumps(request_of(number)) for number in range(len(names))]

    def submit(number):
        [place] = asked.choices(range(len(names)), weights)
        submission = Submission(model=names[place], body=bodies[place])
        worker.jobs.submit(submission, tenant=worker.tenant, job_id=str(number))

    ends = Ends(submit)
    worker = assemble(catalog, pool=POOL, sessions=sessions, queues=queues, reporter=ends)
    core = Core(worker=worker, queues={QUEUE: queue}, owner="bench", lease_s=600, wait_s=0.2)
    running = GpuWorker(core)
    threading.Thread(target=running.run, daemon=True).start()
    core.warm.wait(WAIT_S_MAX)
    first_loads = next(loads)
    for _ in range(int(in_flight)):
        ends.start(next(NUMBERS))
    assert ends.done.wait(WAIT_S_MAX), len(ends.at_s)
    counted = COOL - WARM
    report = {
        "job_us": (ends.at_s[COOL] - ends.at_s[WARM]) * 1e6 / counted,
        "cpu_us": (ends.cpu_s[COOL] - ends.cpu_s[WARM]) * 1e6 / counted,
        "latency_ms": sorted(ends.latencies_ms[WARM:COOL])[counted // 2],
        "stacked": mean(ends.stacked[WARM:COOL]),
        "loads": next(loads) - first_loads - 1,
        "resident_mb": resident_bytes() / MB,
    }
    os.write(int(pipe), marshal.dumps((time.monotonic_ns(), report)))
    os._exit(0)


main()
