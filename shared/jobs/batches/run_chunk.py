"""Runs chunks: claims one, reads its lines as a stream, runs them block by block, publishes its part.

A run publishes what it has after `FIRST_RUN_S`, so that whoever waits sees how far the batch is, or at the end
of its invocation, and leaves the rest to the next one, which may take twice as long: so the parts of a chunk
stay few. A chunk whose runs died three times is not run again: its lines, and only its lines, become
errors. Memory is bounded by one block of lines, whatever the chunk holds.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from random import random
from typing import TYPE_CHECKING, Final

from shared.errors import (
    ConflictError,
    InternalError,
    LanewayError,
    NotFoundError,
    UnavailableError,
)
from shared.jobs.batches.chunk_share import turned_away
from shared.jobs.batches.collecting import rare_collections
from shared.jobs.batches.ending import finish_if_done
from shared.jobs.batches.engine import Engine, OutOfTimeError, Written, refuse_all
from shared.jobs.batches.facts import ChunkFacts, tell_nobody
from shared.jobs.batches.messages import (
    UnreadableError,
    chunk_message,
    read_chunk,
)
from shared.jobs.batches.part_files import PartFiles
from shared.jobs.batches.reading import BOM, Block, read_blocks
from shared.jobs.batches.window import is_open
from shared.jobs.delivery import DONE, Bury, Outcome, Retry
from shared.limits import JOB_ATTEMPTS_MAX
from shared.results.batches import ChunkClaimed, Held, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from shared.catalog import Catalog
    from shared.inference.pipeline import ServedModel
    from shared.inference.sessions import Sessions
    from shared.jobs.batches.chunk_share import ChunkShare
    from shared.jobs.batches.facts import ChunkOutcome
    from shared.jobs.clock import Clock
    from shared.jobs.work import Lease
    from shared.queues.protocol import Delivery, Queue
    from shared.results.batches import BatchRow, BatchStore, ChunkRow, Part
    from shared.results.objects import ObjectStore
    from shared.schema.request import InferenceRequest

BLOCK_LINES: Final = 256
LOOK_S: Final = 10.0
"""How often a run looks whether its batch still runs."""
FIRST_RUN_S: Final = 10.0
"""After which the first run of a chunk publishes."""
RETRY_S: Final = 5.0
JITTER_S: Final = 5.0
CRASHED: Final = InternalError(
    "not answered: each of three runs of the lines around this one was stopped, or ran out of memory"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkWorker:
    """One pool's worker, as far as chunks need it."""

    catalog: Catalog
    sessions: Sessions[ServedModel]
    validate: Callable[[object], InferenceRequest]
    batches: BatchStore
    objects: ObjectStore
    chunks: Queue
    """This pool's queue of chunks, for what is left of one."""
    finish: Queue
    clock: Clock
    timeout_s: float
    report: Callable[[BaseException], None]
    """Told of exceptions that no error of ours foresees."""
    told: Callable[[ChunkFacts], None] = tell_nobody
    """Of each run of a chunk."""
    monotonic: Callable[[], float] = time.monotonic
    """By which a run sees that its time is over."""
    block_lines: int = BLOCK_LINES
    """Between two looks at that clock."""
    share: ChunkShare | None = None
    """What one tenant may have in hand; None: any number."""
    stopped: Callable[[], bool] = bool
    """Whether runs are aborted from outside: then the block is dropped, and costs no attempt."""


class ChunkRunner:
    """Runs the chunks of one worker, one after the other."""

    def __init__(self, worker: ChunkWorker) -> None:
        self._worker = worker

    def run_delivery(
        self, deliveries: Sequence[Delivery], *, lease: Lease, until_s: float
    ) -> list[Outcome]:
        """How each delivery ended, in order; those that found no time are handed back.

        `until_s`: on the monotonic clock, when the last run must have ended.
        Raises `UnavailableError` where nothing was done because of the infrastructure.
        """
        outcomes: list[Outcome] = []
        for delivery in deliveries:
            if outcomes and time.monotonic() >= until_s:
                outcomes.append(Retry(random() * JITTER_S))  # noqa: S311  spreads load, guards nothing
                continue
            try:
                outcomes.append(self._run(delivery, lease, until_s))
            except UnavailableError:
                if not outcomes:
                    raise
                outcomes.append(Retry(RETRY_S))
        return outcomes

    def _run(self, delivery: Delivery, lease: Lease, until_s: float) -> Outcome:
        try:
            key, index = read_chunk(delivery.body)
        except UnreadableError as error:
            return Bury(str(error))
        worker = self._worker
        row = worker.batches.get(key)
        if row is None:
            return Bury(f"no batch {key} is known: its row was removed, or it never was one")
        if row.status != "running" or not is_open(row.window, worker.clock()):
            return DONE  # ended, or its window will open again: then the chunk has a new message
        if worker.share is None:
            return self._run_of(row, index, lease, until_s)
        with worker.share.taken(key.tenant, lease=lease, clock=worker.clock) as after_s:
            if after_s is not None:
                return turned_away(delivery, after_s, worker.chunks, tenant=key.tenant)
            return self._run_of(row, index, lease, until_s)

    def _run_of(self, row: BatchRow, index: int, lease: Lease, until_s: float) -> Outcome:
        worker, key, now = self._worker, row.key, self._worker.clock()
        claim = worker.batches.claim_chunk(
            key, index, owner=lease.owner, until=lease.until, now=now
        )
        if isinstance(claim, Held):
            return Retry(max(0.0, claim.until - now) + random() * JITTER_S)  # noqa: S311  as above
        if isinstance(claim, ChunkClaimed):
            outcome = _Run(worker, row, claim.chunk, until_s).outcome()
            if outcome is not DONE:
                return outcome
        finish_if_done(key, batches=worker.batches, finish=worker.finish, now=worker.clock())
        return DONE


class _Run:
    """One claimed chunk."""

    def __init__(self, worker: ChunkWorker, row: BatchRow, chunk: ChunkRow, until_s: float) -> None:
        self._worker = worker
        self._row = row
        self._chunk = chunk
        self._until_s = until_s
        self._at = chunk.next
        self._began_s = time.monotonic()
        self._files = PartFiles(worker.objects, row.key, chunk.prefix)

    def outcome(self) -> Outcome:
        """Run it; `DONE` also where another owner has it now."""
        try:
            self._run_lines()
            if self._at != self._chunk.next:
                self._publish()
                return DONE
        except UnavailableError:
            with suppress(UnavailableError):
                self._files.abort()
                self._hand_back(charged=False)
            raise
        self._files.abort()
        self._hand_back(charged=not self._worker.stopped())
        self._tell("released")
        return Retry(RETRY_S)

    def _run_lines(self) -> None:
        chunk, worker, row = self._chunk, self._worker, self._row
        if chunk.attempt > JOB_ATTEMPTS_MAX:
            self._refuse(CRASHED)
            return
        try:
            model = worker.catalog.find(row.model, row.version)[0]
            lease = worker.sessions.use(row.model, row.version)
        except UnavailableError:
            raise
        except LanewayError as error:
            self._refuse(error)
            return
        with lease as served, rare_collections():
            engine = Engine(
                model,
                served,
                validate=worker.validate,
                batch_id=row.key.id,
                endpoint=row.endpoint,
                timeout_s=worker.timeout_s,
                report=worker.report,
                stopped=worker.stopped,
            )
            self._take(lambda block: engine.run(block.lines, self._at.line, until_s=self._until_s))

    def _refuse(self, error: LanewayError) -> None:
        """Every line has the same error, because none of them can be run."""
        name = self._row.key.id
        self._take(lambda block: refuse_all(block.lines, self._at.line, batch_id=name, error=error))

    def _take(self, work: Callable[[Block], Written]) -> None:
        """Go on block by block until the chunk, the time or the batch ends, or it is time to publish."""
        began_s = looked_s = self._worker.monotonic()
        may_take_s = FIRST_RUN_S * 2 ** len(self._chunk.parts)
        try:
            for block in self._blocks():
                self._files.add(work(block))
                self._at = Place(
                    self._at.offset + block.size_bytes, self._at.line + len(block.lines)
                )
                now_s = self._worker.monotonic()
                if now_s >= self._until_s or now_s - began_s >= may_take_s:
                    return
                if now_s - looked_s >= LOOK_S:
                    looked_s = now_s
                    if not self._still_runs():
                        return
        except OutOfTimeError:
            return
        except (ConflictError, NotFoundError) as error:
            self._refuse_rest(error)

    def _refuse_rest(self, error: LanewayError) -> None:
        """The input was changed or removed under us: the lines that are left are lost, one by one."""
        left = self._chunk.begin.line + self._chunk.lines - self._at.line
        name = self._row.key.id
        for first in range(self._at.line, self._at.line + left, BLOCK_LINES):
            count = min(BLOCK_LINES, self._at.line + left - first)
            self._files.add(refuse_all([None] * count, first, batch_id=name, error=error))
        self._at = Place(self._chunk.end, self._at.line + left)

    def _blocks(self) -> Iterator[Block]:
        row, chunk = self._row, self._chunk
        start = chunk.next.offset
        pieces = self._worker.objects.read(row.input, start=start, end=chunk.end, etag=row.etag)
        for block in read_blocks(pieces, lines_max=self._worker.block_lines):
            first = block.lines[0]
            if start == self._at.offset == 0 and first is not None:
                block.lines[0] = first.removeprefix(BOM)
            yield block

    def _still_runs(self) -> bool:
        row = self._worker.batches.get(self._row.key)
        return row is not None and row.status == "running"

    def _publish(self) -> None:
        worker, chunk = self._worker, self._chunk
        part = self._files.close()
        key = self._row.key
        done = worker.batches.publish(key, chunk, part, upto=self._at, now=worker.clock())
        self._tell("published" if done else "lost", part if done else None)
        if done and self._at.offset < chunk.end:
            worker.chunks.send(chunk_message(key, chunk.index), tenant=key.tenant)

    def _tell(self, outcome: ChunkOutcome, part: Part | None = None) -> None:
        facts = ChunkFacts(self._row, self._chunk, outcome, time.monotonic() - self._began_s)
        if part is not None:
            facts = facts._replace(lines=part.succeeded + part.failed, failed=part.failed)
        self._worker.told(facts)

    def _hand_back(self, *, charged: bool) -> None:
        chunk = self._chunk
        self._worker.batches.release_chunk(
            self._row.key, chunk.index, fence=chunk.fence, charged=charged
        )
