"""Chunks of batches on the long-lived worker: the lowest queue, which gives way to jobs."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from gpu_workers.core import CHUNKS
from shared.jobs.batches.run_chunk import ChunkRunner
from tests.fixtures.batch_desk import BatchDesk, check_invariants, line
from tests.fixtures.worker_desk import wait_for

LOOP = "/v2/models/loop/versions/1/infer"
LINES = 600
MANY = 1500
"""Of a chunk that outlasts the end of a job also on a busy machine."""
TURNS = 1200


@pytest.fixture
def batches(heavy_models):
    return BatchDesk(heavy_models, chunk_bytes=1 << 20)


def make(desk, batches):
    """A worker that consumes the batches' chunks too."""
    worker = desk.make(more={CHUNKS: batches.chunks})
    core = worker.core
    told = replace(
        batches.worker,
        sessions=core.worker.sessions,
        monotonic=core.chunk_clock,
        stopped=core.stopped.is_set,
        block_lines=8,
    )
    core.chunks = ChunkRunner(told)
    return worker


def looping(number, turns=TURNS):
    tensor = {"name": "x", "shape": [1], "datatype": "FP32", "data": [turns]}
    return line(number, LOOP, body={"inputs": [tensor]})


def test_a_batch_is_run_where_no_job_waits(desk, batches):
    key = batches.submit(b"\n".join(map(line, range(50))))
    batches.step_split()
    with desk.running(make(desk, batches)):
        wait_for(lambda: batches.finish.depth() > 0)
    batches.settle(key)
    check_invariants(batches, key, lines=50)


def test_a_chunk_gives_way_to_a_job_and_goes_on_after_it(desk, batches):
    key = batches.submit(b"\n".join(map(looping, range(MANY))), LOOP)
    batches.step_split()
    with desk.running(make(desk, batches)) as worker:
        wait_for(lambda: worker.core.chunk_started_s)
        job = desk.submit(priority="high")
        desk.wait_ended([job])
        [chunk] = batches.batches.chunks(key)
        assert chunk.status != "done"
        assert 0 < chunk.next.line < MANY
        wait_for(lambda: batches.finish.depth() > 0)
    batches.settle(key)
    check_invariants(batches, key, lines=MANY)


def test_a_drain_ends_a_chunk_after_its_block_and_keeps_what_is_done(desk, batches):
    key = batches.submit(b"\n".join(map(looping, range(LINES))), LOOP)
    batches.step_split()
    worker = make(desk, batches)
    with desk.running(worker):
        wait_for(lambda: worker.core.chunk_started_s)
    [chunk] = batches.batches.chunks(key)
    assert chunk.status != "done"
    assert batches.chunks.depth() == 1
    batches.settle(key)
    check_invariants(batches, key, lines=LINES)


def test_a_drain_aborts_a_block_that_would_outlast_it_and_charges_no_attempt(desk, batches):
    key = batches.submit(looping(0, turns=1e12), LOOP)
    batches.step_split()
    worker = make(desk, batches)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    wait_for(lambda: worker.core.chunk_started_s)
    wait_for(lambda: [chunk.status for chunk in batches.batches.chunks(key)] == ["running"])

    worker.drain(1.0)
    thread.join(20)

    assert not thread.is_alive()
    [chunk] = batches.batches.chunks(key)
    assert (chunk.status, chunk.attempt, chunk.next.line) == ("open", 0, 1)
    assert batches.chunks.depth() == 1
    assert worker.failure is None
