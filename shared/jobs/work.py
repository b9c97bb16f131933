"""What a worker is made of and what it has in hand: leased jobs, and how the run of one ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from shared.jobs.sharing import NO_SHARING, Sharing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from shared.catalog import Catalog
    from shared.errors import LanewayError
    from shared.inference.pipeline import ServedModel
    from shared.inference.sessions import Sessions
    from shared.jobs.clock import Clock
    from shared.jobs.facts import Reporter
    from shared.jobs.parallel import Parallel
    from shared.jobs.rules import JobRules
    from shared.jobs.submit import Jobs
    from shared.queues.protocol import Queue
    from shared.results.payloads import PayloadStore
    from shared.results.store import JobRow, JobStore, RunFacts
    from shared.routing.lane import LaneName
    from shared.schema.request import InferenceRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One pool's worker: its models, and everything that it asks and tells."""

    pool: str
    catalog: Catalog
    sessions: Sessions[ServedModel]
    store: JobStore
    payloads: PayloadStore
    jobs: Jobs
    """Makes the rows of messages that users dropped."""
    rules: JobRules
    queues: Mapping[tuple[str, str], Queue]
    """Of all pools, by pool and queue: where messages of other pools are sent on to."""
    validate: Callable[[object], InferenceRequest]
    clock: Clock
    parallel: Parallel
    reporter: Reporter
    tenant: str = "default"
    """Whose the messages are that users drop on this pool's queues."""
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    """Pools of models that are not in this one's catalog."""
    events: Queue | None = None
    """The webhooks' queue; None: the sweeper alone sends events."""
    lane: LaneName = "queue"
    """Of its rows: the pool's models share one compute."""
    sharing: Sharing = NO_SHARING
    """How many jobs of one tenant may be in hand."""


class Lease(NamedTuple):
    """What claims of one delivery are made with."""

    owner: str
    until: float
    """Epoch seconds: when others may take the job over."""


@dataclass(slots=True, eq=False)
class Work:
    """One claimed job on its way through a delivery, at its position in it."""

    position: int
    row: JobRow
    refusal: LanewayError | None = None
    """Why it cannot run, known before it is tried."""
    run: RunFacts | None = None

    @property
    def model(self) -> tuple[str, str]:
        """Name and version of the model that runs it."""
        return self.row.model, self.row.version


class Answered(NamedTuple):
    """A result: the body and headers that the realtime call would have answered with 200."""

    body: bytes
    headers: Mapping[str, str]


class Refused(NamedTuple):
    """A typed failure that ends the job."""

    error: LanewayError


Ending = Answered | Refused


class Trouble(NamedTuple):
    """A job that did not end for a reason that is not its own; it is decided on when all were tried."""

    position: int
    work: Work | None
    """None: not even claimed."""
    error: LanewayError
    infrastructure: bool = True
    """False: it is the job's own, such as a run that the end of the invocation stopped."""


def waves(works: Sequence[Work], *, budget_bytes: int, unknown_bytes: int) -> Iterator[list[Work]]:
    """The works in turn, as many at once as their inputs fit `budget_bytes`, one model's together.

    `unknown_bytes` counts for an input that nobody has read yet.
    """
    wave: list[Work] = []
    held_bytes = 0
    for work in sorted(works, key=lambda work: work.model):
        size_bytes = work.row.input.size_bytes or unknown_bytes
        if wave and held_bytes + size_bytes > budget_bytes:
            yield wave
            wave, held_bytes = [], 0
        wave.append(work)
        held_bytes += size_bytes
    if wave:
        yield wave
