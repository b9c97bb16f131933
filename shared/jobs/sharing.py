"""Keeps one tenant from having all of a pool's workers: what is past its share comes again later.

What is turned away was neither claimed nor charged. A message that was received often is sent anew,
because a broker counts receives and buries what was received too often.
"""

from __future__ import annotations

import math
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from shared.errors import UnavailableError
from shared.jobs.delivery import DONE, Outcome, PoisonError, Retry, job_id, read_message
from shared.limiting.shares import Entry, MemoryShares
from shared.limits import SQS_DELAY_S_MAX
from shared.results.rows import JobKey
from shared.routing.lane import of_queue

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from shared.jobs.work import Lease, Worker
    from shared.limiting.shares import Entered, Shares
    from shared.queues.protocol import Delivery

RESENT_FROM: Final = 8
"""Receives of a message after which it is sent anew; a queue buries what was received 20 times."""

POSTPONED_FROM: Final = 0.25
"""Of a class's target: who is sent away for longer is not looked for meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """`jobs_max`: by queue, how many jobs of one tenant may be in hand; a queue not named: any number."""

    shares: Shares = field(default_factory=MemoryShares)
    jobs_max: Mapping[str, int] = field(default_factory=dict)


NO_SHARING: Final = Sharing()


@contextmanager
def shared_out(
    worker: Worker, deliveries: Sequence[Delivery], *, queue: str, lease: Lease
) -> Iterator[dict[int, Outcome]]:
    """While the block lasts, the tenants' jobs are in hand; gives how those past a share end, by position."""
    jobs_max = worker.sharing.jobs_max.get(queue)
    if jobs_max is None:
        yield {}
        return
    by_tenant = _by_tenant(worker, deliveries)
    line = f"{worker.pool}/{queue}"
    entries = [Entry(line, name, lease.owner, len(found)) for name, found in by_tenant.items()]
    entered = worker.parallel.map(lambda entry: _enter(worker, entry, jobs_max, lease), entries)
    away: dict[int, float] = {}
    for positions, found in zip(by_tenant.values(), entered, strict=True):
        if found is not None:
            away |= zip(positions[found.granted :], found.again_after_s, strict=True)
    try:
        turned = [(deliveries[position], after_s) for position, after_s in away.items()]
        yield dict(zip(away, turn_away(worker, turned, queue=queue), strict=True))
    finally:
        worker.parallel.map(
            lambda found: _leave(worker, found), [found for found in entered if found is not None]
        )


def tenant_of(worker: Worker, delivery: Delivery) -> str | None:
    """Whose the job is; None for a message that names none, which whoever takes it will bury."""
    try:
        message = read_message(delivery.body)
    except PoisonError:
        return None
    return message.tenant if isinstance(message, JobKey) else worker.tenant


def turn_away(
    worker: Worker, turned: Sequence[tuple[Delivery, float]], *, queue: str
) -> list[Outcome]:
    """How deliveries end of which each is to come again after its seconds."""
    long_s = POSTPONED_FROM * worker.rules.targets_s[of_queue(queue)[0]]
    told = [
        position
        for position, (delivery, after_s) in enumerate(turned)
        if after_s >= long_s or delivery.receive_count >= RESENT_FROM
    ]
    outcomes: list[Outcome] = [Retry(after_s) for _, after_s in turned]
    ended = worker.parallel.map(lambda position: _told(worker, *turned[position], queue), told)
    for position, outcome in zip(told, ended, strict=True):
        outcomes[position] = outcome
    return outcomes


def _told(worker: Worker, delivery: Delivery, after_s: float, queue: str) -> Outcome:
    """As `turn_away`, of one that is away for long, or that must not be received many times more."""
    _postpone(worker, delivery, queue, after_s)
    if delivery.receive_count < RESENT_FROM:
        return Retry(after_s)
    try:
        worker.queues[worker.pool, queue].send(
            _body(delivery),
            tenant=delivery.tenant or tenant_of(worker, delivery) or worker.tenant,
            delay_s=min(SQS_DELAY_S_MAX, math.ceil(after_s)),
            attributes=delivery.attributes,
        )
    except UnavailableError:
        return Retry(after_s)
    return DONE


def _by_tenant(worker: Worker, deliveries: Sequence[Delivery]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for position, delivery in enumerate(deliveries):
        tenant = tenant_of(worker, delivery)
        if tenant is not None:
            found.setdefault(tenant, []).append(position)
    return found


def _enter(worker: Worker, entry: Entry, jobs_max: int, lease: Lease) -> Entered | None:
    """None where the shares cannot be known: jobs are run then, fairly or not."""
    try:
        return worker.sharing.shares.enter(
            entry, share=jobs_max, now=worker.clock(), until=lease.until
        )
    except UnavailableError:
        return None


def _leave(worker: Worker, entered: Entered) -> None:
    if entered.granted:
        with suppress(UnavailableError):  # the entry lapses
            worker.sharing.shares.leave(entered, now=worker.clock())


def _postpone(worker: Worker, delivery: Delivery, queue: str, after_s: float) -> None:
    """Keep the sweeper from taking a message for lost that is only sent away for long."""
    latency_class, _ = of_queue(queue)
    if after_s < POSTPONED_FROM * worker.rules.targets_s[latency_class]:
        return
    message = read_message(delivery.body)
    if isinstance(message, JobKey):
        due_at = worker.rules.lost_at(
            latency_class, pool=worker.pool, sent_at=worker.clock() + after_s, ttl_at=math.inf
        )
        with suppress(UnavailableError):
            worker.store.postpone(message, due_at=due_at)


def _body(delivery: Delivery) -> str:
    """The message, with the id that its job has: sent anew, it would have another one."""
    message = read_message(delivery.body)
    if isinstance(message, JobKey):
        return delivery.body
    named = message.model_copy(update={"id": job_id(message, delivery)})
    return named.model_dump_json(exclude_defaults=True, ensure_ascii=True)
