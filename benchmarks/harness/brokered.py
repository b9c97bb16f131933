"""G1, G2 and Q3 over a private RabbitMQ: our worker and its peers as processes that work off a full queue.

Each process is one that a user would start; what it has done is counted by itself. Rates are taken
while the queue is full and everything is warm, and the bars are on the time for a job, the inverse of
jobs/s. Our queue is a quorum queue, as it always is; the peers' are the durable classic queues of their
defaults, which ask less of the broker. Q3 is taken once more with the results of all sides in one table
of the embedded AWS: no bar is on that, since the emulator sets the pace, but the calls a job costs are
those of DynamoDB.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pika

from benchmarks.harness.children import Child, Sample, run_child
from benchmarks.harness.clients import keep_asking
from benchmarks.harness.events import one_row_request
from benchmarks.harness.figure import Effort, Figure
from benchmarks.harness.one_table import running_table
from benchmarks.harness.packages import (
    BUILD,
    EMBEDDING,
    ENVIRONMENT,
    HEAVY,
    ROOT,
    TABULAR,
    BenchModel,
    peer_package,
)
from benchmarks.harness.processes import Program, Worked, running
from benchmarks.harness.spread import Spread, paired_ratio, spread
from cli.testing.rabbitmq import PrivateBroker, is_installed
from shared.jobs.messages import reference
from shared.queues.protocol import Message
from shared.queues.rabbitmq import AmqpSettings, RabbitBroker
from shared.queues.rabbitmq.envelope import properties_of
from shared.queues.rabbitmq.topology import RETRY_S, retry_name
from shared.results.store import JobKey

IN_FLIGHT = 32
"""G2: requests at the same time to LitServe, and messages that our worker may hold."""
LITSERVE_BATCHES = (8, 32)
"""Of both the better one counts."""
LITSERVE_TIMEOUT_MS = 5
PREFETCH = 128
"""Of a process of the peers; their own defaults are 4 and 2, with which both are slower."""
_PIKA_QUEUE = "bench-laneway"
_QUICK_BLOCK_S = 0.1
_QUICK_SHARE = 6
_OURS_MORE = 3
"""So many more jobs are queued for ours, whose rate would else be taken in a second."""
_TABLED_JOBS = 3_000
"""Our rows are made through the emulator, one after the other."""
_ROUNDS_SHARE = 3
_CELERY = ("-m", "celery", "-A", "app", "worker", "--pool", "solo", "--loglevel", "WARNING")
_CELERY_QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")
_DRAMATIQ = ("-m", "dramatiq", "app", "--processes", "1", "--threads", "1")


class NoBrokerError(Exception):
    """RabbitMQ is not installed."""


@dataclass(frozen=True)
class Amount:
    """How many jobs are queued, and for how long their rate is taken."""

    jobs: int
    seconds: float
    rounds: int


def measure_jobs(effort: Effort) -> list[Figure]:
    """Q3: jobs/s of the tabular model against Celery's and dramatiq's."""
    amount = _amount(effort, jobs=12_000, seconds=4)
    ours = replace(amount, jobs=amount.jobs * _OURS_MORE)
    with _broker() as bench:
        ways = {
            "ours": partial(bench.ours, TABULAR, ours),
            "dropped": partial(bench.ours, TABULAR, ours, dropped=True),
            "celery": partial(bench.celery, TABULAR, amount),
            "dramatiq": partial(bench.dramatiq, TABULAR, amount),
        }
        taken = _in_turn(ways, amount.rounds)
        tabled = _in_one_table(bench, _amount(effort, jobs=_TABLED_JOBS, seconds=4))
    return [
        _against(
            f"Q3.{peer}",
            taken["ours"],
            taken[peer],
            more={
                "x of dropped jobs": paired_ratio(_us(taken["dropped"]), _us(taken[peer])),
                **_tabled_parts(tabled["ours"], tabled[peer]),
            },
        )
        for peer in ("celery", "dramatiq")
    ]


def _in_one_table(bench: _Bench, amount: Amount) -> dict[str, list[Worked]]:
    """The same with the results of each in a table of the embedded AWS."""
    with running_table() as table:
        bench = replace(bench, told=table)
        ways = {
            "ours": partial(bench.ours, TABULAR, amount),
            "celery": partial(bench.celery, TABULAR, amount),
            "dramatiq": partial(bench.dramatiq, TABULAR, amount),
        }
        return _in_turn(ways, 1)


def _tabled_parts(ours: list[Worked], peer: list[Worked]) -> dict[str, Spread]:
    return {
        "ours/s in a table": _rate(ours),
        "peer/s in a table": _rate(peer),
        "our calls a job": spread([item.calls_per_job for item in ours]),
        "peer's calls a job": spread([item.calls_per_job for item in peer]),
    }


def measure_rows(effort: Effort) -> list[Figure]:
    """G1 over RabbitMQ: the worker's rows/s against `session.run` at the best batch size."""
    figures = []
    for kind, model in {"embedding": EMBEDDING, "heavy": HEAVY}.items():
        amount = _amount(effort, jobs=3_000 if model == EMBEDDING else 400, seconds=8)
        floor: list[Sample] = []
        with _broker() as bench:
            ours = []
            for _ in range(amount.rounds):
                floor.append(_best_batch(model, effort))
                ours.append(bench.ours(model, amount))
        figures.append(_over_floor(f"G1.rabbitmq.{kind}", ours, floor))
    return figures


def measure_serving(effort: Effort) -> list[Figure]:
    """G2: rows/s of the worker against LitServe with dynamic batching, 32 in flight."""
    amount = _amount(effort, jobs=3_000, seconds=8)
    with _broker() as bench:
        ways = {str(size): partial(_litserve, EMBEDDING, size, amount) for size in LITSERVE_BATCHES}
        ways["ours"] = partial(bench.ours, EMBEDDING, amount, prefetch=IN_FLIGHT)
        taken = _in_turn(ways, amount.rounds)
    best = min(LITSERVE_BATCHES, key=lambda size: spread(_us(taken[f"{size}"])).median)
    figure = _against("G2", taken["ours"], taken[f"{best}"])
    return [figure]


@dataclass(frozen=True)
class _Bench:
    """A broker, and what works on it.

    `beside`: sessions of what serves the workers; `told`: variables that all of them are given.
    """

    url: str
    beside: Sequence[int]
    told: Mapping[str, str] = field(default_factory=dict)

    def ours(
        self, model: BenchModel, amount: Amount, *, dropped: bool = False, prefetch: int = 0
    ) -> Worked:
        """Our worker on jobs that were submitted, or that were dropped on the queue with their inputs.

        `prefetch` 0: as the worker sets it.
        """
        with RabbitBroker(AmqpSettings(url=self.url)) as broker:
            broker.declare([_PIKA_QUEUE])
        request = one_row_request(model.name)
        submission = {"schema_version": 1, "model": model.name, "input": request}
        keys = (JobKey("default", f"j{number}") for number in range(amount.jobs))
        bodies = (json.dumps(submission) if dropped else reference(key) for key in keys)
        self._send(bodies)
        consumer = ROOT / "benchmarks" / "children" / "consumer.py"
        rows = 0 if dropped else amount.jobs
        arguments = (consumer, model.name, 1, self.url, _PIKA_QUEUE, prefetch, rows)
        folders = (
            ROOT,
            ROOT / "benchmarks" / "peers" / "common",
            Path(sysconfig.get_path("purelib")),
        )
        told = {**_request(model), **self.told}
        program = Program([str(argument) for argument in arguments], folders, told)
        retries = (retry_name(_PIKA_QUEUE, longest_s) for longest_s in RETRY_S)
        return self._worked(program, amount, _PIKA_QUEUE, *retries)

    def celery(self, model: BenchModel, amount: Amount) -> Worked:
        """One Celery worker process that runs the jobs itself."""
        return self._peer(
            "celery_rabbitmq", (*_CELERY, *_CELERY_QUIET), model, amount, "bench-celery"
        )

    def dramatiq(self, model: BenchModel, amount: Amount) -> Worked:
        """One dramatiq worker process with one thread."""
        return self._peer("dramatiq_rabbitmq", _DRAMATIQ, model, amount, "bench-dramatiq")

    def _peer(
        self, peer: str, arguments: Sequence[str], model: BenchModel, amount: Amount, queue: str
    ) -> Worked:
        folders = peer_package(peer, model).folders
        told = {
            **_request(model),
            **self.told,
            "BENCH_AMQP_URL": self.url,
            "BENCH_PREFETCH": str(PREFETCH),
            "dramatiq_queue_prefetch": str(PREFETCH),
        }
        Program(["app.py", str(amount.jobs)], folders, told).finish()
        return self._worked(Program(arguments, folders, told), amount, queue)

    def _worked(self, program: Program, amount: Amount, *queues: str) -> Worked:
        try:
            with running(program, beside=self.beside) as process:
                return process.throughput(
                    warm=amount.jobs // 10, until=amount.jobs * 9 // 10, seconds=amount.seconds
                )
        finally:
            with self._channel() as channel:
                for queue in queues:
                    channel.queue_purge(queue)

    def _send(self, bodies: Iterable[str]) -> None:
        with self._channel() as channel:
            for body in bodies:
                message = Message(body=body, tenant="default")
                told = properties_of(message, now=time.time())
                channel.basic_publish("", _PIKA_QUEUE, body.encode(), told)

    @contextlib.contextmanager
    def _channel(self) -> Iterator[pika.adapters.blocking_connection.BlockingChannel]:
        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        try:
            yield connection.channel()
        finally:
            connection.close()


@contextlib.contextmanager
def _broker() -> Iterator[_Bench]:
    if not is_installed():
        raise NoBrokerError("RabbitMQ is not installed (apt-get install rabbitmq-server)")
    folder = Path(tempfile.mkdtemp(prefix="bench-rabbitmq-"))
    try:
        with PrivateBroker(folder) as broker:
            yield _Bench(broker.url, beside=[os.getsid(broker.pid)])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _litserve(model: BenchModel, size: int, amount: Amount) -> Worked:
    """LitServe under 32 clients that ask again at once."""
    folders = peer_package("litserve_batching", model).folders
    port = _free_port()
    program = Program(["app.py", str(port), str(size), str(LITSERVE_TIMEOUT_MS)], folders, {})
    body = json.dumps(one_row_request(model.name)).encode()
    with (
        running(program) as server,
        keep_asking(port, "/predict", body, clients=IN_FLIGHT) as asked,
    ):
        return server.throughput(
            warm=amount.jobs // 10, until=amount.jobs, seconds=amount.seconds, done=asked.answers
        )


def _best_batch(model: BenchModel, effort: Effort) -> Sample:
    folders = f"{ROOT}:{sysconfig.get_path('purelib')}"
    size_s = 0.1 if effort.block_s < _QUICK_BLOCK_S else 1.0
    arguments = (folders, model.name, model.version, 1, size_s)
    return run_child(Child("best_batch.py", tuple(map(str, arguments)), ENVIRONMENT))


def _amount(effort: Effort, *, jobs: int, seconds: float) -> Amount:
    if effort.block_s < _QUICK_BLOCK_S:
        return Amount(jobs=jobs // _QUICK_SHARE, seconds=seconds, rounds=1)
    return Amount(jobs=jobs, seconds=seconds, rounds=max(2, effort.rounds // _ROUNDS_SHARE))


def _in_turn(ways: Mapping[str, Callable[[], Worked]], rounds: int) -> dict[str, list[Worked]]:
    """Each way once a round, one after the other."""
    taken: dict[str, list[Worked]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            taken[name].append(way())
    return taken


def _against(
    key: str, ours: list[Worked], peer: list[Worked], *, more: Mapping[str, Spread] | None = None
) -> Figure:
    parts = {
        "ours/s": _rate(ours),
        "peer/s": _rate(peer),
        "CPU time x": paired_ratio(_cpu_us(ours), _cpu_us(peer)),
        "ours CPU us": spread(_cpu_us(ours)),
        "peer CPU us": spread(_cpu_us(peer)),
        **(more or {}),
    }
    return Figure(
        key=key,
        value=paired_ratio(_us(ours), _us(peer)),
        parts=parts,
        noisy=_mostly([item.noisy for item in (*ours, *peer)]),
        note="time for a job, one process each, one thread a run, results in memory on all sides",
    )


def _over_floor(key: str, ours: list[Worked], floor: list[Sample]) -> Figure:
    floor_us = [sample.report["row_us"] for sample in floor]
    return Figure(
        key=key,
        value=paired_ratio(_us(ours), floor_us),
        parts={
            "worker us": spread(_us(ours)),
            "session.run us": spread(floor_us),
            "x of its own session's run": paired_ratio(
                _us(ours), [sample.report["own_us"] for sample in floor]
            ),
            "best batch": spread([sample.report["size"] for sample in floor]),
            "worker's CPU us": spread(_cpu_us(ours)),
        },
        noisy=_mostly([*(item.noisy for item in ours), *(item.noisy for item in floor)]),
        note="per row of one job, one thread a run; rows/s at least 0.90 of the floor's is 1.11",
    )


def _mostly(noisy: Sequence[bool]) -> bool:
    """As `figure.noisy`: more than a third."""
    return sum(noisy) * 3 > len(noisy)


def _rate(worked: list[Worked]) -> Spread:
    return spread([item.jobs / item.seconds for item in worked])


def _us(worked: list[Worked]) -> list[float]:
    return [item.per_job_us for item in worked]


def _cpu_us(worked: list[Worked]) -> list[float]:
    return [item.cpu_per_job_us for item in worked]


def _request(model: BenchModel) -> dict[str, str]:
    """The variable that names the file with the request's JSON."""
    path = BUILD / "events" / f"{model.name}.request.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(one_row_request(model.name)))
    return {"BENCH_REQUEST": str(path)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
