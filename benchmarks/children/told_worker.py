"""The worker `python -m gpu_workers` over RabbitMQ, results in memory, that tells how each of its jobs ends.

Arguments: the model, intra-op threads, the broker's URL, a queue, and the socket that is told: a line once the
model is loaded, and for each job its id, the status of its result (0: it has none yet) and when, by the
monotonic clock, which is one for the whole machine.
"""

from __future__ import annotations

import gc
import socket
import sys
import threading
import time

from benchmarks.children.memory_worker import opened_core
from gpu_workers.telemetry import WorkerTelemetry
from gpu_workers.worker import GpuWorker

name, threads, url, queue_name, place = sys.argv[1:]


class Telling(WorkerTelemetry):
    """Writes each job's line as ever, and tells the harness."""

    def __init__(self, pool, told):
        super().__init__(stage="bench", pool=pool, worker="bench")
        self._told_to = told
        self._telling = threading.Lock()

    def job(self, facts):
        """One that was handed back, came twice or failed alone."""
        super().job(facts)
        self._tell([facts])

    def ended(self, facts):
        """Those that ended together."""
        super().ended(facts)
        self._tell(facts)

    def _tell(self, facts):
        at_s = time.monotonic()
        lines = "".join(f"{one.row.key.id} {one.status} {at_s}\n" for one in facts)
        with self._telling:
            self._told_to.sendall(lines.encode())


def main():
    with socket.socket(socket.AF_UNIX) as told:
        told.connect(place)
        with opened_core(
            url,
            queue_name,
            model=name,
            threads=int(threads),
            reporter=lambda pool: Telling(pool, told),
        ) as core:
            threading.Thread(target=tell_when_warm, args=(core, told), daemon=True).start()
            gc.freeze()  # as the worker's entry point does
            GpuWorker(core).run()


def tell_when_warm(core, told):
    core.warm.wait()
    told.sendall(b"ready\n")


main()
