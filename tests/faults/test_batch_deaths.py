"""Splitters, workers and finishers of batches that are killed, and messages that come twice.

LANEWAY_FAULT_JOBS   set by `make test-faults`: then batches are 50 times as long
LANEWAY_FAULT_SEED   what a failed run printed, to have the same kills again
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter

import orjson
import pytest

from shared.jobs.batches.files import ERRORS, MANIFEST, OUTPUT, REFUSED, file_key
from shared.jobs.batches.messages import batch_message, chunk_message
from shared.limits import MIB
from shared.results.batches import BatchRow, ChunkRow, Cursor, Part, Place
from tests.faults.batch_stage import ENDPOINT, BatchStage, batch_key
from tests.faults.process import say
from tests.faults.stage import TENANT, wait_for

FULL = "LANEWAY_FAULT_JOBS" in os.environ
SEED = os.environ.get("LANEWAY_FAULT_SEED") or str(random.SystemRandom().getrandbits(32))
BATCHES = 4
LINES = 100_000 if FULL else 2_000
CHUNK_BYTES = (512 if FULL else 32) * 1024
KILLS = 60 if FULL else 6
SETTLED_S_MAX = 1200 if FULL else 150
VICTIMS = {"chunks": 5, "splitter": 2, "finisher": 2, "forgotten": 1}
ATTEMPTS = 3
DUPLICATES = 0.5
"""How probably a look at the storm sends a message that nobody needs."""


@pytest.fixture
def stage(tmp_path, fault_models, aws):
    stage = BatchStage(tmp_path, fault_models, aws, chunk_bytes=CHUNK_BYTES)
    try:
        yield stage
    finally:
        stage.stop()


def is_bad(number):
    """Whether line `number`, from 1, is one that cannot be run."""
    return number % 50 == 7


def line_of(number):
    if number % 100 == 57:
        return b'{"custom_id": "oops'
    endpoint = ENDPOINT + ("/elsewhere" if is_bad(number) else "")
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [number, number + 0.5]}
    said = {"custom_id": f"row-{number}", "method": "POST", "url": endpoint}
    return orjson.dumps({**said, "body": {"inputs": [tensor]}})


class Weather:
    """Keeps the processes running, kills some of them, and sends messages again."""

    def __init__(self, stage, keys):
        self.stage = stage
        self.keys = keys
        self.chance = random.Random(SEED)  # noqa: S311  to be had again
        roles = ["chunks", "chunks", "splitter", "finisher", "forgotten"]
        self.running = [stage.start(role) for role in roles]
        self.killed = Counter()

    def blow(self):
        """Until every batch has ended."""
        end = time.monotonic() + SETTLED_S_MAX
        kill_at = 0.0
        while left := self.stage.unfinished(self.keys):
            assert time.monotonic() < end, f"not within {SETTLED_S_MAX} s: {left}"
            if self.chance.random() < DUPLICATES:
                self._repeat_a_message(self.chance.choice(left))
            if self.killed.total() < KILLS and time.monotonic() >= kill_at:
                self._kill_one()
                kill_at = time.monotonic() + self.chance.uniform(0.3, 1.5)
            self.stage.check_alive()
            time.sleep(self.chance.uniform(0.1, 0.3))

    def _kill_one(self):
        role = self.chance.choices(list(VICTIMS), list(VICTIMS.values()))[0]
        victims = [child for child in self.running if child.role == role and child.ready()]
        if not victims:
            return
        victim = self.chance.choice(victims)
        victim.kill()
        self.killed[role] += 1
        self.running[self.running.index(victim)] = self.stage.start(role)

    def _repeat_a_message(self, key):
        stage = self.stage
        chunks = stage.batches.get(key).cursor.chunks
        index = self.chance.randrange(max(1, chunks))
        queue, body = self.chance.choice(
            [
                (stage.split, batch_message(key)),
                (stage.finish, batch_message(key)),
                (stage.chunks, chunk_message(key, index)),
            ]
        )
        queue.send(body, tenant=TENANT, delay_s=self.chance.randrange(4))


@pytest.mark.timeout(SETTLED_S_MAX + 120)
def test_every_line_is_answered_once_and_in_order_whatever_is_killed(stage):
    say(f"LANEWAY_FAULT_SEED={SEED}, {BATCHES} batches of {LINES:,} lines")
    data = b"\n".join(map(line_of, range(1, LINES + 1)))
    keys = [stage.submit(data, f"lines-{number}") for number in range(BATCHES)]
    began = time.monotonic()
    weather = Weather(stage, keys)

    weather.blow()

    lost = sum(check_batch(stage, key) for key in keys)
    say(f"settled in {time.monotonic() - began:.0f} s; killed {dict(weather.killed)}; {lost} lost")
    assert lost == 0 or weather.killed["chunks"] >= ATTEMPTS
    assert weather.killed.total() >= 3
    check_settled(stage, keys)


def check_batch(stage, key):
    """Its files and counts; gives how many lines lost every worker that they had."""
    row = stage.batches.get(key)
    output, errors = stage.lines(key, OUTPUT), stage.lines(key, ERRORS)
    answered = [int(answer["id"].rpartition("-")[2]) for answer in output]
    refused = [error["line"] for error in errors]
    assert answered == sorted(answered)
    assert refused == sorted(refused)
    assert sorted(answered + refused) == list(range(1, LINES + 1))
    for number, answer in zip(answered, output, strict=True):
        [tensor] = answer["response"]["body"]["outputs"]
        assert answer["custom_id"] == f"row-{number}"
        assert tensor["data"] == [2 * number, 2 * number + 1]
    lost = [error for error in errors if not is_bad(error["line"])]
    assert {error["error"]["code"] for error in lost} <= {"internal_error"}
    assert not [number for number in answered if is_bad(number)]
    assert stage.file(key, REFUSED).count(b"\n") == len(refused)
    assert row.status == "succeeded"
    assert (row.total, row.succeeded, row.failed) == (LINES, len(answered), len(refused))
    counts = {"total": LINES, "succeeded": len(answered), "failed": len(refused)}
    assert orjson.loads(stage.file(key, MANIFEST))["counts"] == counts
    assert all(chunk.status == "done" for chunk in stage.batches.chunks(key))
    return len(lost)


def check_settled(stage, keys):
    """What is on its way still changes nothing any more."""
    ended = [stage.batches.get(key) for key in keys]
    files = [stage.objects.stat(file_key(key, OUTPUT)).etag for key in keys]
    queues = (stage.split, stage.chunks, stage.finish)
    wait_for(
        lambda: not any(queue.depth() for queue in queues), what="no message is left", pause_s=0.3
    )
    assert [stage.batches.get(key) for key in keys] == ended
    assert [stage.objects.stat(file_key(key, OUTPUT)).etag for key in keys] == files
    assert stage.dead.depth() == 0
    assert stage.batches.due(now=time.time() + 1e6, limit=10) == []


DEATHS = (
    "after:UploadPart",
    "after:CompleteMultipartUpload",
    "after:CreateMultipartUpload",
    "before:UploadPartCopy",
    "after:UploadPartCopy",
    "before:CompleteMultipartUpload",
    "after:PutObject",
)[: None if FULL else 3]
"""Every call, also those on DynamoDB: tests/flow/test_batch_crash_points.py."""
SIZES = (6 * MIB, MIB, 12 * MIB, 4321)
"""Outputs of the chunks: one that S3 copies, one that is read with a piece of the next, a short end."""


def test_a_finisher_that_dies_between_two_calls_of_s3_is_replaced(stage):
    keys = [make_done_batch(stage, f"done-{number}") for number in range(len(DEATHS))]
    wanted = b"".join(content(index, size) for index, size in enumerate(SIZES))
    mortal = [stage.start("finisher", DIE_AT=place) for place in DEATHS]
    wait_for(lambda: all(child.ready() for child in mortal), what="each waits for a batch")

    for key in keys:
        stage.tell_finisher(key)
    wait_for(lambda: not any(child.running() for child in mortal), what="each has died")
    assert {child.popen.returncode for child in mortal} == {-signal.SIGKILL}

    stage.start("finisher")

    wait_for(lambda: not stage.unfinished(keys), what="another one goes on", pause_s=0.3)
    rows = [stage.batches.get(key) for key in keys]
    assert {row.status for row in rows} == {"succeeded"}
    assert sum(row.fence for row in rows) == 2 * len(keys) + len(DEATHS)
    for key in keys:
        assert stage.file(key, OUTPUT) == wanted
        manifest = orjson.loads(stage.file(key, MANIFEST))
        assert manifest["counts"] == {"total": 4, "succeeded": 4, "failed": 0}
    check_settled(stage, keys)


def make_done_batch(stage, name):
    """A batch whose chunks are all done, and nobody has told the finisher."""
    key, store, now, count = batch_key(name), stage.batches, time.time(), len(SIZES)
    store.create(
        BatchRow(
            key=key,
            status="validating",
            endpoint=ENDPOINT,
            model="plain",
            version="1",
            pool="shared",
            input=f"uploads/{TENANT}/{name}",
            payload_digest="cd" * 32,
            created_at=now,
            ttl_at=now + 86_400,
            purge_at=now + 86_400,
        )
    )
    row = store.lease(key, step="validating", owner="test", until=now + 60, now=now).row
    chunks = [
        ChunkRow(index=index, begin=Place(10 * index, index + 1), end=10 * (index + 1), lines=1)
        for index in range(count)
    ]
    cursor = Cursor(10 * count, count, count)
    store.add_chunks(row, chunks, cursor=cursor, etag="e", input_bytes=10 * count)
    store.split(key, fence=row.fence, due_at=now)
    store.start(key, now=now, due_at=now + 300)
    for index, size in enumerate(SIZES):
        chunk = store.claim_chunk(key, index, owner="test", until=now + 60, now=now).chunk
        place = file_key(key, f"{chunk.prefix}/{OUTPUT}")
        stage.objects.put(place, content(index, size), content_type="application/x-ndjson")
        part = Part(
            prefix=chunk.prefix, output_bytes=size, errors_bytes=0, refused_bytes=0,
            succeeded=1, failed=0, blank=0,
        )  # fmt: skip
        assert store.publish(key, chunk, part, upto=Place(chunk.end, index + 2), now=now)
    assert store.finalize(key, ending="succeeded", now=now)
    return key


def content(index, size):
    """Bytes that no other place of the output has."""
    return (b"%d-" % index * size)[: size - 1] + b"\n"
