"""From a queue to the backlog: receives, claims, loads inputs, makes tensors.

One thread for each queue, so that each waits for messages in one long call. Whatever their queue,
the inputs of one job at a time are prepared: a transform's `preprocess` is never called twice at once.
"""

from __future__ import annotations

import threading
from random import random
from typing import TYPE_CHECKING, Final

from gpu_workers.backlog import Ready
from gpu_workers.core import CHUNKS
from gpu_workers.looks import Looks
from shared.errors import LanewayError, QueueUnavailableError
from shared.jobs.columns import prepare_plain
from shared.jobs.delivery import Outcome, Retry, jitter_s
from shared.jobs.steps import load_inputs, prepare_all, use_model
from shared.jobs.taking import Taking
from shared.jobs.work import Lease, Trouble, Work, waves
from shared.limits import DECODED_BODY_BYTES_MAX, SQS_BATCH_ENTRIES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpu_workers.core import Core
    from gpu_workers.hand import Held
    from gpu_workers.loader import Loaded, Loader
    from shared.queues.protocol import Delivery

ROOM_WAIT_S: Final = 1.0
LOOK_WAIT_S: Final = 0.02
CALLS_MAX: Final = 8
"""Further calls for messages that one receiver makes at once."""
DEFECT_S: Final = 5.0
"""When a message comes again that met a defect of ours."""
WAVES: Final = 4
"""So many loads of inputs may be in memory at once."""


class Intake:
    """What turns deliveries of any queue into ready jobs. Shared by the receivers' threads."""

    def __init__(self, core: Core, loader: Loader) -> None:
        self._core = core
        self._loader = loader
        self._preparing = threading.Lock()

    def take(self, queue: str, deliveries: Sequence[Delivery]) -> None:
        """Claim the jobs of these deliveries and get them ready, or end them here."""
        held = self._core.hold(queue, deliveries)
        try:
            self._take(queue, held)
        except Exception as error:  # noqa: BLE001  what is in hand must not be kept for ever
            self._core.worker.reporter.defect(error, None)
            left = [item for item in held if not item.placed and not item.ending]
            self._core.settling.hand_back(left, after=Retry(DEFECT_S + jitter_s()))

    def _take(self, queue: str, held: Sequence[Held]) -> None:
        core = self._core
        if not self._begin(held):
            core.settling.hand_back(held)
            return
        try:
            first, later = self._claim(queue, held)
        finally:
            for item in held:
                item.claiming = False
        if later:
            core.settling.park(later)
            for item in later:
                item.placed = True
            core.again.extend(later)
        by_work = {item.work: item for item in first if item.work is not None}
        for wave in waves(
            list(by_work),
            budget_bytes=core.inputs_bytes_max // WAVES,
            unknown_bytes=DECODED_BODY_BYTES_MAX,
        ):
            self._load([by_work[work] for work in wave])

    def prepare(self, loaded: Loaded) -> None:
        """Make the tensors of jobs of one model, which is loaded now if it is not."""
        core = self._core
        by_work = {item.work: item for item, _ in loaded if item.work is not None}
        lease = use_model(core.worker, list(by_work))
        if isinstance(lease, list):
            core.settling.fail([(by_work[work], error) for work, error in lease])
            return
        with lease as served, self._preparing:
            model = core.worker.catalog.model(served.name)
            ways = core.ways.of(model, served)
            pairs = [(item.work, data) for item, data in loaded if item.work is not None]
            groups, rest = prepare_plain(ways.bulk, pairs)
            ready, failed = prepare_all(core.worker, served, rest)
            groups += [[member] for member in ready]
            items: list[Ready] = []
            for group in groups:
                signature, rows = ways.stacker.signature(group[0][1])
                key = None if signature is None else (model.name, served.version, signature)
                for work, prepared in group:
                    held = by_work[work]
                    held.model = core.worker.sessions.use(served.name, served.version)
                    items.append(
                        Ready(
                            held=held,
                            prepared=prepared,
                            served=served,
                            ways=ways,
                            key=key,
                            rows=rows,
                            rows_max=model.max_batch_size,
                            cells=ways.stacker.cells(prepared),
                            delay_s=model.max_delay_ms / 1000,
                        )
                    )
        core.settling.fail([(by_work[work], error) for work, error in failed])
        for item in items:  # not before: what meets a defect on the way here is handed back
            item.held.placed = True
        core.backlog.add(items)

    def _begin(self, held: Sequence[Held]) -> bool:
        """Say that these are being claimed, once the gate is open; False: the worker drains."""
        core = self._core
        while not core.draining.is_set():
            for item in held:
                item.claiming = True
            if core.gate.is_set():
                return True
            for item in held:
                item.claiming = False
            core.gate.wait(ROOM_WAIT_S)
        return False

    def _claim(self, queue: str, held: Sequence[Held]) -> tuple[list[Held], list[Held]]:
        """Those that are ours now, first attempts and later ones; the others are ended."""
        core = self._core
        lease = Lease(core.owner, core.worker.clock() + core.lease_s)
        taking = Taking(core.worker, queue=queue, lease=lease)
        taken = core.worker.parallel.map(
            lambda place: taking.take(place, held[place].delivery), range(len(held))
        )
        first: list[Held] = []
        later: list[Held] = []
        troubled: list[Held] = []
        ended: list[tuple[Held, Outcome]] = []
        for item, found in zip(held, taken, strict=True):
            if isinstance(found, Work):
                item.work, item.until = found, lease.until
                (first if found.row.attempt == 1 else later).append(item)
            elif isinstance(found, Trouble):
                troubled.append(item)
            else:
                ended.append((item, found))
        if troubled:
            core.outage.met()
        ended += [(item, core.outage.retry()) for item in troubled]
        core.settling.conclude(ended)
        return first, later

    def _load(self, held: list[Held]) -> None:
        """Fetch inputs, then prepare those whose models are loaded; the others wait for theirs."""
        core = self._core
        while not core.hand.hold_bytes(held, wait_s=ROOM_WAIT_S):
            if core.draining.is_set():
                core.settling.hand_back(held)
                return
        by_work = {item.work: item for item in held if item.work is not None}
        loaded, failed = load_inputs(core.worker, list(by_work))
        core.settling.fail([(by_work[work], error) for work, error in failed])
        groups: dict[tuple[str, str], Loaded] = {}
        for work, data in loaded:
            groups.setdefault(work.model, []).append((by_work[work], data))
        for model, members in groups.items():
            if self._loader.takes(model):
                self._loader.put(model, members)
            else:
                self.prepare(members)


class Receiver:
    """One queue's thread. `ahead`: how many deliveries of it may wait here now."""

    def __init__(self, core: Core, intake: Intake, queue: str, *, ahead: Callable[[], int]) -> None:
        self._core = core
        self._intake = intake
        self._name = queue
        self._queue = core.queues[queue]
        self._ahead = ahead
        self._looks = Looks(clock=core.worker.clock)

    def run(self) -> None:
        """Until the worker drains."""
        core = self._core
        while not core.draining.is_set():
            core.outage.wait(core.draining)
            core.gate.wait(ROOM_WAIT_S)
            ahead = self._ahead()
            waiting = core.hand.waiting(self._name)
            if waiting >= ahead or not core.gate.is_set():
                core.hand.wait(ROOM_WAIT_S)
                continue
            room = self._looks.limit(ahead - waiting, waiting=waiting)
            if not room:
                core.hand.wait(LOOK_WAIT_S)
                continue
            try:
                self._receive(room, ahead)
            except QueueUnavailableError:
                core.draining.wait(1.0 + random())  # noqa: S311  spreads load, guards nothing
            except LanewayError as error:
                core.worker.reporter.defect(error, None)

    def _receive(self, room: int, ahead: int) -> None:
        core = self._core
        deliveries = list(self._queue.receive(limit=room, wait_s=core.wait_s))
        if not deliveries:
            return
        if len(deliveries) == SQS_BATCH_ENTRIES:
            deliveries += self._receive_more(room - len(deliveries))
        if core.draining.is_set():
            core.settling.hand_back(core.hold(self._name, deliveries))
        elif self._name == CHUNKS:
            core.backlog.add([Ready(held=item) for item in core.hold(self._name, deliveries)])
        else:
            admitted = core.fairness.admitted(self._name, deliveries, ahead=ahead)
            if turned := len(deliveries) - len(admitted):
                new = [item.sent_at for item in deliveries if item.receive_count == 1]
                self._looks.turned_away(
                    turned,
                    waiting=core.hand.waiting(self._name) + len(admitted),
                    sent_at=max((at for at in new if at is not None), default=None),
                )
            self._intake.take(self._name, admitted)

    def _receive_more(self, room: int) -> list[Delivery]:
        """Several calls at once: SQS gives ten messages a call, and the queue seems to hold more."""

        def receive(_: int) -> Sequence[Delivery]:
            try:
                return self._queue.receive(limit=SQS_BATCH_ENTRIES, wait_s=0)
            except QueueUnavailableError:
                return ()

        calls = range(min(CALLS_MAX, room // SQS_BATCH_ENTRIES))
        found = self._core.worker.parallel.map(receive, calls)
        return [delivery for some in found for delivery in some]
