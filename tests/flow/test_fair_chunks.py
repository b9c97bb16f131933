"""A tenant with a batch of a million lines, and one with a small batch now and then: what the quiet one waits.

The real runner of chunks on a first-in-first-out queue, which knows nothing of tenants, in virtual time.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.errors import StoreUnavailableError
from shared.jobs.batches.chunk_share import ChunkShare
from shared.jobs.batches.run_chunk import ChunkRunner
from shared.jobs.delivery import Done, Retry
from shared.jobs.sharing import RESENT_FROM
from shared.jobs.work import Lease
from shared.limiting.shares import Entry, MemoryShares
from shared.results.batches_memory import MemoryBatchStore
from shared.schema.batch import BatchSubmission
from tests.fixtures.batch_desk import BUCKET, SCALE, BatchDesk, line
from tests.fixtures.virtual_time import VirtualTime

WORKERS = 10
SHARE = 8
CALL_S = 0.01
RUN_S = 10.0
"""Of a chunk, after which its worker publishes and lets go of it."""
CHUNKS = 400
"""A million lines of 3 KB, in chunks of 8 MiB."""
QUIET = 20
QUIET_EVERY_S = 20.0


class Store(MemoryBatchStore):
    """Its calls take time, and so does the run that ends with one."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock
        self.began = {}
        self.in_hand = self.most_in_hand = 0

    def claim_chunk(self, key, index, **named):
        self.clock.sleep(CALL_S)
        self.began.setdefault(key, self.clock.now)
        self.in_hand += key.tenant == "noisy"
        self.most_in_hand = max(self.most_in_hand, self.in_hand)
        return super().claim_chunk(key, index, **named)

    def publish(self, key, *others, **named):
        self.clock.sleep(RUN_S)
        self.in_hand -= key.tenant == "noisy"
        return super().publish(key, *others, **named)


class Stage:
    """Workers of the chunks of one pool in virtual time."""

    def __init__(self, models, *, share):
        self.time = VirtualTime()
        self.store = Store(self.time)
        self.desk = BatchDesk(models, batches=self.store, clock=self.time, chunk_bytes=1)
        self.share = share
        self.runner = ChunkRunner(replace(self.desk.worker, share=share))
        self.quiet = {}
        self.over = False

    def submit(self, tenant, lines):
        key = f"uploads/{tenant}/{len(self.quiet)}.jsonl"
        data = b"\n".join(line(number) for number in range(lines))
        self.desk.objects.put(key, data, content_type="application/x-ndjson")
        asked = BatchSubmission(endpoint=SCALE, input=f"s3://{BUCKET}/{key}")
        row = self.desk.accept.submit(asked, tenant=tenant).row
        while self.desk.step_split():
            pass
        return row.key

    def be_quiet(self):
        self.time.sleep(QUIET_EVERY_S)
        for _ in range(QUIET):
            self.quiet[self.submit("quiet", 1)] = self.time.now
            self.time.sleep(QUIET_EVERY_S)
        self.over = True

    def work(self):
        while not self.over:
            deliveries = self.desk.chunks.receive(limit=1, wait_s=0)
            self.time.sleep(CALL_S if deliveries else 0.05)
            for delivery in deliveries:
                self.run(delivery)

    def run(self, delivery):
        lease = Lease(delivery.receipt, self.time.now + 900)
        [outcome] = self.runner.run_delivery([delivery], lease=lease, until_s=float("inf"))
        self.time.sleep(CALL_S)
        if isinstance(outcome, Done):
            self.desk.chunks.acknowledge(delivery)
        else:
            self.desk.chunks.hand_back(delivery, delay_s=int(outcome.after_s) + 1)
        return outcome

    def waits_s(self):
        """Until the first chunk of each of the quiet tenant's batches began, sorted."""
        began = self.store.began
        return sorted(began.get(key, self.time.now) - sent for key, sent in self.quiet.items())


def p95(waits_s):
    return waits_s[int(len(waits_s) * 0.95) - 1]


@pytest.fixture
def stage(small_models):
    def make(chunks_max=SHARE, shares=None):
        return Stage(
            small_models,
            share=ChunkShare(
                shares=shares or MemoryShares(), line="shared/chunks", chunks_max=chunks_max
            ),
        )

    return make


def test_a_quiet_tenant_s_batch_hardly_waits_for_a_batch_of_a_million_lines(stage):
    alone = stage()
    alone.time.run(alone.be_quiet, *[alone.work] * WORKERS)

    beside = stage()
    big = beside.submit("noisy", CHUNKS)
    beside.time.run(beside.be_quiet, *[beside.work] * WORKERS)

    assert p95(beside.waits_s()) <= 2 * p95(alone.waits_s()) + 1
    assert beside.store.most_in_hand <= SHARE
    done = beside.store.get(big).succeeded
    assert done < CHUNKS, "it was there all the time"
    assert done > 0.8 * SHARE * (beside.time.now - beside.time.began) / RUN_S, "the share is used"


def test_without_a_share_a_quiet_tenant_s_batch_waits_for_all_of_it(stage):
    beside = stage(chunks_max=WORKERS)
    beside.submit("noisy", CHUNKS)
    beside.time.run(beside.be_quiet, *[beside.work] * WORKERS)

    assert p95(beside.waits_s()) > QUIET_EVERY_S


@pytest.mark.parametrize(("receives", "outcome"), [(1, Retry), (RESENT_FROM, Done)])
def test_a_chunk_that_is_turned_away_is_not_charged_and_comes_again(stage, receives, outcome):
    some = stage(chunks_max=1)
    key = some.submit("noisy", 1)
    another = Entry("shared/chunks", "noisy", "another", 1)
    some.share.shares.enter(another, share=1, now=some.time.now, until=some.time.now + 30)
    [delivery] = some.desk.chunks.receive(limit=1, wait_s=0)
    outcomes = []

    some.time.run(lambda: outcomes.append(some.run(replace(delivery, receive_count=receives))))

    assert isinstance(outcomes[0], outcome)
    assert next(some.store.chunks(key)).attempt == 0
    some.time.now += 60
    [again] = some.desk.chunks.receive(limit=1, wait_s=0)
    assert (again.message_id == delivery.message_id) is (outcome is Retry), "else it was sent anew"
    some.time.run(lambda: some.run(again))
    assert some.store.get(key).succeeded == 1


class Unknown:
    """Shares that cannot be asked."""

    def enter(self, *_, **__):
        raise StoreUnavailableError("no shares")


def test_where_shares_cannot_be_known_chunks_run_all_the_same(stage):
    some = stage(shares=Unknown())
    key = some.submit("noisy", 1)
    [delivery] = some.desk.chunks.receive(limit=1, wait_s=0)

    some.time.run(lambda: some.run(delivery))

    assert some.store.get(key).succeeded == 1
