"""A worker's chunks: lines read, run and written by the chunk runner, against the same done bare.

Arguments: the pipe to report to, the folders to import from (the project first), the model, the lines,
the number of blocks, and optionally of processes. Stores and queues are in memory; the floor reads and
writes a file in memory. Times are the CPU's: both ways have one thread, and neither waits for anything.

With processes, so many begin at the same time, each with its share of the lines and a store of its own;
reported are the rows a second by the clock on the wall, from the first beginning to the last end.
"""

from __future__ import annotations

import io
import json
import marshal
import os
import sys
import time
from pathlib import Path

pipe, folders, name, count, blocks, *processes = sys.argv[1:]
sys.path[:0] = folders.split(":")

import numpy as np  # found only on the path set above
import onnxruntime as ort
import orjson

from shared.catalog import parse_catalog
from shared.inference.loading import open_sessions
from shared.jobs.batches.files import OUTPUT, file_key
from shared.jobs.batches.finish import FinishWorker, finish_batch
from shared.jobs.batches.run_chunk import ChunkRunner, ChunkWorker
from shared.jobs.batches.split import SplitWorker, split_batch
from shared.jobs.batches.submit import Batches
from shared.jobs.clock import system_clock
from shared.jobs.rules import JobRules
from shared.jobs.work import Lease
from shared.queues.memory import MemoryQueue
from shared.repository import compile_catalog, read_repository
from shared.results.batches import BatchKey
from shared.results.batches_memory import MemoryBatchStore
from shared.results.objects import MemoryObjectStore
from shared.schema.batch import BatchSubmission
from shared.schema.compile import export_validators
from shared.schema.compiled import load_validators
from shared.settings.jobs import JobSettings

ROOT = Path(folders.split(":")[0])
PROCESSES = int(processes[0]) if processes else 1
COUNT = int(count) // PROCESSES
LINES_MADE = 10_000
"""More are these again: lines need not differ."""
ENDPOINT = f"/v2/models/{name}/infer"
FLOOR_STACKS = (32, 64, 128, 256, 512, 1024)


def main() -> None:
    if processes:
        rates = [rows_per_s() for _ in range(int(blocks))]
        os.write(int(pipe), marshal.dumps((time.monotonic_ns(), {"rows_per_s": rates})))
        return
    bench = Bench()
    bench.batch_us()
    best = min(FLOOR_STACKS, key=lambda stack: min(bench.floor_us(stack) for _ in range(2)))
    taken = [
        {"floor_us": bench.floor_us(best), "batch_us": bench.batch_us()} for _ in range(int(blocks))
    ]
    bench.check_same_output()
    report = {key: [block[key] for block in taken] for key in taken[0]}
    os.write(int(pipe), marshal.dumps((time.monotonic_ns(), report)))


def rows_per_s() -> float:
    """Of all processes together."""
    begin, go = os.pipe()
    pipes = [os.pipe() for _ in range(PROCESSES)]
    for _, report in pipes:
        if os.fork() == 0:
            os.close(go)
            work(begin, report)
            os._exit(0)
        os.close(report)
    assert all(os.read(reader, 1) == b"r" for reader, _ in pipes)
    os.close(go)  # all read its end at the same time
    spans = [marshal.loads(os.read(reader, 100)) for reader, _ in pipes]  # noqa: S302  of our own children
    for reader, _ in pipes:
        os.close(reader)
        os.wait()
    os.close(begin)
    taken_ns = max(end for _, end in spans) - min(start for start, _ in spans)
    return PROCESSES * COUNT / taken_ns * 1e9


def work(begin: int, report: int) -> None:
    """One process: makes itself ready, waits for the others, runs its share."""
    bench = Bench()
    bench.run_chunks(bench.lines(200))
    os.write(report, b"r")
    os.read(begin, 1)
    start = time.monotonic_ns()
    bench.run_chunks(bench.data)
    os.write(report, marshal.dumps((start, time.monotonic_ns())))


class Bench:
    """One model, one file of lines."""

    def __init__(self) -> None:
        repository = read_repository(ROOT / "models")
        compiled = {**compile_catalog(repository), "validators": export_validators()}
        self.catalog = parse_catalog(json.loads(json.dumps(compiled)))
        self.model, self.version = self.catalog.find(name)
        [self.input] = self.version.inputs
        self.data = self.lines(COUNT)
        self.sessions = open_sessions(ROOT, self.catalog, budget_bytes=1 << 30)
        self.sessions.get(name, self.version.version)
        self.validate = load_validators(self.catalog.validators).inference_request
        self.output = self.bare = b""
        self.batch_id = ""
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = ROOT / self.version.folder / "model.onnx"
        self.session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def lines(self, count: int) -> bytes:
        """So many lines of one row each."""
        made = self._made(min(count, LINES_MADE))
        times, rest = divmod(count, LINES_MADE) if count > LINES_MADE else (1, 0)
        return made * times + b"".join(made.splitlines(keepends=True)[:rest])

    def _made(self, count: int) -> bytes:
        width = self.input.shape[1]
        rng = np.random.default_rng(0)
        values = rng.uniform(0, 50, (count, width)).round(4).tolist()
        tensor = {"name": self.input.name, "shape": [1, width], "datatype": self.input.datatype}
        return b"".join(
            orjson.dumps(
                {
                    "custom_id": f"row-{number}",
                    "method": "POST",
                    "url": ENDPOINT,
                    "body": {"inputs": [{**tensor, "data": row}]},
                }
            )
            + b"\n"
            for number, row in enumerate(values)
        )

    def floor_us(self, stack: int) -> float:
        """Per line: parse, stack, `session.run`, write the same lines; nothing is looked at twice."""
        outputs = [(out.name, out.datatype) for out in self.version.outputs]
        source, target = io.BytesIO(self.data), io.BytesIO()
        head = {"model_name": name, "model_version": self.version.version}
        start, number = time.process_time_ns(), 0
        while lines := [orjson.loads(line) for _, line in zip(range(stack), source)]:  # noqa: B905  the file may end first
            rows = [line["body"]["inputs"][0]["data"] for line in lines]
            results = self.session.run(None, {self.input.name: np.array(rows, np.float32)})
            shapes = [[1, *result.shape[1:]] for result in results]
            flat = [result.reshape(len(lines), -1) for result in results]
            for place, line in enumerate(lines):
                number += 1
                line_id = f"{self.batch_id}-{number}"
                made = [
                    {"name": out, "datatype": kind, "shape": shape, "data": values[place]}
                    for (out, kind), shape, values in zip(outputs, shapes, flat, strict=True)
                ]
                response = {
                    "status_code": 200,
                    "request_id": line_id,
                    "body": {**head, "outputs": made},
                }
                answer = {
                    "id": line_id,
                    "custom_id": line["custom_id"],
                    "response": response,
                    "error": None,
                }
                target.write(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")
        taken_ns = time.process_time_ns() - start
        self.bare = target.getvalue()
        return taken_ns / 1000 / COUNT

    def batch_us(self) -> float:
        """Per line: every chunk of a batch claimed, run and published by one worker."""
        taken_ns, store, objects, key = self.run_chunks(self.data)
        finisher = FinishWorker(
            batches=store, objects=objects, finish=MemoryQueue(clock=system_clock),
            bucket="bench", clock=system_clock,
        )  # fmt: skip
        lease = Lease("bench", system_clock() + 600)
        finish_batch(finisher, key, lease=lease, until_s=time.monotonic() + 600)
        row = store.get(key)
        assert (row.status, row.succeeded) == ("succeeded", COUNT)
        self.output, self.batch_id = b"".join(objects.read(file_key(key, OUTPUT))), key.id
        return taken_ns / 1000 / COUNT

    def run_chunks(self, data: bytes) -> tuple[int, MemoryBatchStore, MemoryObjectStore, BatchKey]:
        """A batch split and every chunk run; gives the CPU's nanoseconds of the chunks, and what there is."""
        store, objects = MemoryBatchStore(), MemoryObjectStore()
        split, finish, chunks = (MemoryQueue(clock=system_clock) for _ in range(3))
        rules = JobRules.of(JobSettings(stage="bench", bucket="bench"))
        objects.put("uploads/default/lines", data, content_type="")
        batches = Batches(
            catalog=self.catalog, store=store, split=split, finish=finish,
            pools=frozenset({self.model.pool}), rules=rules, clock=system_clock,
        )  # fmt: skip
        submission = BatchSubmission(endpoint=ENDPOINT, input="s3://bench/uploads/default/lines")
        key = batches.submit(submission, tenant="default").row.key
        lease, until_s = Lease("bench", system_clock() + 600), time.monotonic() + 600
        queues = {self.model.pool: chunks}
        splitter = SplitWorker(
            batches=store, objects=objects, split=split, chunks=queues, clock=system_clock
        )
        split_batch(splitter, key, lease=lease, until_s=until_s)
        runner = ChunkRunner(
            ChunkWorker(
                catalog=self.catalog,
                sessions=self.sessions,
                validate=self.validate,
                batches=store,
                objects=objects,
                chunks=chunks,
                finish=finish,
                clock=system_clock,
                timeout_s=60,
                report=print,
            )
        )
        start = time.process_time_ns()
        while deliveries := chunks.receive(limit=1, wait_s=0):
            runner.run_delivery(deliveries, lease=lease, until_s=until_s)
            chunks.acknowledge(deliveries[0])
        taken_ns = time.process_time_ns() - start
        assert store.get(key).done_chunks == store.get(key).cursor.chunks
        return taken_ns, store, objects, key

    def check_same_output(self) -> None:
        """Both have written the same file, to the byte."""
        self.floor_us(256)
        assert self.bare == self.output


main()
