"""Jobs that arrive at a rate at the long-lived worker, over a private RabbitMQ and without any emulator.

Each is dropped on the queue with its input when it is due, by one of many threads, so that a slow confirm delays
no other. It is accepted when the broker has confirmed it, and has ended when the worker has written its result.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sysconfig
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.harness.arrivals import Outcome, arrivals
from benchmarks.harness.events import one_row_request
from benchmarks.harness.packages import ROOT
from benchmarks.harness.processes import START_S_MAX, Program, running
from cli.testing.rabbitmq import PrivateBroker
from shared.errors import QueueUnavailableError
from shared.queues.protocol import Queue
from shared.queues.rabbitmq import AmqpSettings, RabbitBroker

WORKER = ROOT / "benchmarks" / "children" / "told_worker.py"
SENDERS = 16
PATIENCE_S = 30.0
"""Without any job's end for so long, those that are left are lost."""
LOOK_S = 0.1
TENANT = "default"


class Workers:
    """Worker processes on one queue of a broker, and what they have told of their jobs."""

    def __init__(self, queue: Queue, *, patience_s: float = PATIENCE_S) -> None:
        self._queue = queue
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._ready = 0
        self._ends: dict[str, tuple[int, float]] = {}
        self._twice: Counter[str] = Counter()

    def hold(self, model: str, *, rate: float, seconds: float) -> Outcome:
        """Let jobs arrive at this rate for so long, and wait until every accepted one has ended."""
        outcome = Outcome("worker of jobs", rate=rate, seconds=seconds)
        batch = uuid.uuid4().hex
        request = one_row_request(model)
        due_s: dict[str, float] = {}
        began_s = time.monotonic()
        with ThreadPoolExecutor(SENDERS) as senders:
            sent = []
            for number, at_s in enumerate(arrivals(rate, seconds, seed=0)):
                name = f"{batch}-{number}"
                due_s[name] = began_s + at_s
                body = {"schema_version": 1, "id": name, "model": model, "input": request}
                text = json.dumps(body)
                time.sleep(max(0.0, due_s[name] - time.monotonic()))
                outcome.late_ms = max(outcome.late_ms, (time.monotonic() - due_s[name]) * 1000)
                sent.append((name, senders.submit(self._send, text)))
        accepted = [name for name, done in sent if done.result()]
        outcome.sent, outcome.refused = len(accepted), len(sent) - len(accepted)
        self._wait_ended(accepted)
        self._account(outcome, accepted, due_s, last_s=began_s + seconds)
        return outcome

    def wait_ready(self, count: int) -> None:
        """Return when so many processes have loaded the model. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._ready >= count, START_S_MAX):
                raise TimeoutError(f"{self._ready} of {count} workers are ready")

    def listen(self, place: socket.socket) -> None:
        """Take what processes tell, each in a thread that ends with its process."""
        while True:
            try:
                connection, _ = place.accept()
            except OSError:  # closed: the workers have ended
                return
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        with connection, connection.makefile() as lines:
            for line in lines:
                self.take(line.split())

    def take(self, told: Sequence[str]) -> None:
        """What a process tells: that it is ready, or a job's id, its status, and when by the monotonic clock."""
        with self._changed:
            if told == ["ready"]:
                self._ready += 1
                self._changed.notify_all()
            elif told[1] != "0":  # 0: the job was handed back, or came again after its end
                name, status, at_s = told
                self._twice[name] += name in self._ends
                self._ends.setdefault(name, (int(status), float(at_s)))

    def _send(self, body: str) -> bool:
        """Whether the broker has taken the job."""
        try:
            self._queue.send(body, tenant=TENANT)
        except QueueUnavailableError:
            return False
        return True

    def _wait_ended(self, accepted: Sequence[str]) -> None:
        """Return when all have ended, or none has for long."""
        left, seen_s = set(accepted), time.monotonic()
        while left and time.monotonic() < seen_s + self._patience_s:
            time.sleep(LOOK_S)
            with self._changed:
                ended = left & self._ends.keys()
            if ended:
                left, seen_s = left - ended, time.monotonic()

    def _account(
        self, outcome: Outcome, accepted: Sequence[str], due_s: dict[str, float], *, last_s: float
    ) -> None:
        with self._changed:
            ends = {name: self._ends[name] for name in accepted if name in self._ends}
            outcome.twice = sum(self._twice[name] for name in ends)
        outcome.statuses.update(status for status, _ in ends.values())
        outcome.latencies_ms += [(at_s - due_s[name]) * 1000 for name, (_, at_s) in ends.items()]
        outcome.cleared_s = max(0.0, max((at_s for _, at_s in ends.values()), default=0) - last_s)


@contextlib.contextmanager
def working(url: str, model: str, *, processes: int, threads: int = 1) -> Iterator[Workers]:
    """So many workers, ready, on a new queue of the broker at `url`; they end with the block."""
    name = f"load-{uuid.uuid4().hex}"
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-load-")))
        broker = stack.enter_context(RabbitBroker(AmqpSettings(url=url)))
        broker.declare([name])
        group = Workers(broker.queue(name))
        place = stack.enter_context(socket.socket(socket.AF_UNIX))
        place.bind(str(folder / "ends"))
        place.listen(processes)
        threading.Thread(target=group.listen, args=(place,), daemon=True).start()
        arguments = (WORKER, model, threads, url, name, folder / "ends")
        folders = (ROOT, Path(sysconfig.get_path("purelib")))
        program = Program([str(argument) for argument in arguments], folders, {})
        for _ in range(processes):
            stack.enter_context(running(program))
        group.wait_ready(processes)
        yield group


@contextlib.contextmanager
def private_broker() -> Iterator[str]:
    """The URL of a RabbitMQ of one's own, which ends with the block."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-rabbitmq-") as folder,
        PrivateBroker(Path(folder)) as broker,
    ):
        yield broker.url
