"""What lies on dead-letter queues: read, held against the jobs, and redriven where that helps.

    the message names        its job is              redrive
    a job                    failed                  a new job from the stored input, once
                             ended otherwise         nothing
                             queued, running         nothing: the sweeper sends it again itself
                             not known               nothing
    a submission             never made              back to its queue, under the id it would have had
    a submission, refused    -                       nothing: the reason is with it
    a batch's chunk          -                       nothing: `laneway batches` retries those
    nothing, unreadable      -                       nothing: the reason is with it

What lies on the queues that belong to no pool is told by `cli.stage_letters`. A message leaves its queue after what it asked for is committed, never before. What nothing is to be
done for stays, unless its deletion is asked for. Speaks to no terminal.
"""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, cast

from cli.stage_letters import JUDGES
from shared.errors import GoneError
from shared.jobs.delivery import PoisonError, job_id, read_message
from shared.queues.messages import REASON_ATTRIBUTE
from shared.results.rows import JobKey
from shared.schema.status import TERMINAL

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Generator

    from cli.stage_jobs import DeadLetters, StageJobs
    from shared.queues.protocol import Delivery
    from shared.schema.job import SubmissionMessage

State = Literal[
    "failed",
    "ended",
    "open",
    "unknown",
    "not admitted",
    "refused",
    "batch",
    "undelivered",
    "blocked",
    "unreadable",
]
Outcome = Literal["redriven", "redriven before", "deleted", "left"]

DELETABLE: Final[frozenset[State]] = frozenset(
    {"failed", "ended", "unknown", "refused", "blocked", "unreadable"}
)
"""What `delete` removes: nothing more can come of these. (Of `failed`, those without an input.)"""
HELD_S: Final = 600
"""For so long a message that was looked at is not seen again."""
_PAGE: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One message on a dead-letter queue and what is known about it."""

    place: DeadLetters
    delivery: Delivery
    state: State
    reason: str
    subject: str = ""
    """What the message is about: a job or a batch, with its tenant."""
    key: JobKey | None = None
    message: SubmissionMessage | None = None


def letters(
    stage: StageJobs, place: DeadLetters, *, limit: int, removed: Container[str] = ()
) -> Generator[Letter]:
    """Up to `limit` messages of a queue, each once; they are visible to others again afterwards.

    `removed`: ids of messages that the caller took off the queue meanwhile.
    """
    seen: dict[str, Delivery] = {}
    try:
        while len(seen) < limit:
            asked = min(_PAGE, limit - len(seen))
            found = place.queue.receive(limit=asked, wait_s=place.wait_s)
            if not found:
                return
            for delivery in found:
                place.queue.extend(delivery, visibility_s=HELD_S)
                is_new = delivery.message_id not in seen
                seen[delivery.message_id] = delivery
                if is_new:
                    yield judge(stage, place, delivery)
    finally:
        for name, delivery in seen.items():
            if name not in removed:
                place.queue.hand_back(delivery)


def redrive_all(
    stage: StageJobs, place: DeadLetters, *, limit: int, delete: bool
) -> Generator[tuple[Letter, Outcome]]:
    """Redrive a queue's messages one by one. Raises as `redrive` does."""
    removed: set[str] = set()
    with closing(letters(stage, place, limit=limit, removed=removed)) as found:
        for letter in found:
            outcome = redrive(stage, letter, delete=delete)
            if outcome != "left":
                removed.add(letter.delivery.message_id)
            yield letter, outcome


def judge(stage: StageJobs, place: DeadLetters, delivery: Delivery) -> Letter:
    """What a message is, and how its job stands."""
    given = delivery.attributes.get(REASON_ATTRIBUTE, "")
    if place.kind in JUDGES:
        return _judged_of_stage(stage, place, delivery, given)
    if _is_chunk(delivery.body):
        return Letter(place=place, delivery=delivery, state="batch", reason=given)
    try:
        message = read_message(delivery.body)
    except PoisonError as error:
        return Letter(
            place=place, delivery=delivery, state="unreadable", reason=given or str(error)
        )
    if isinstance(message, JobKey):
        state, reason = _standing(stage, message)
        return Letter(
            place=place,
            delivery=delivery,
            state=state,
            reason=reason or given,
            subject=str(message),
            key=message,
        )
    key = JobKey(stage.tenant, job_id(message, delivery))
    state, reason = ("refused", given) if given else _standing(stage, key)
    if state == "unknown":
        state, reason = "not admitted", "received too often without becoming a job"
    return Letter(
        place=place,
        delivery=delivery,
        state=state,
        reason=reason,
        subject=str(key),
        key=key,
        message=message,
    )


def _judged_of_stage(
    stage: StageJobs, place: DeadLetters, delivery: Delivery, given: str
) -> Letter:
    found = JUDGES[place.kind](stage.store, delivery.body, given=given)
    return Letter(
        place=place,
        delivery=delivery,
        state=cast("State", found.state),
        reason=found.reason,
        subject=found.subject,
        key=found.key,
    )


def redrive(stage: StageJobs, letter: Letter, *, delete: bool) -> Outcome:
    """Do for a message what its state allows; raises `UnavailableError` where AWS does not answer."""
    outcome = _act(stage, letter)
    if outcome == "left" and delete and letter.state in DELETABLE:
        outcome = "deleted"
    if outcome != "left":
        letter.place.queue.acknowledge(letter.delivery)
    return outcome


def _act(stage: StageJobs, letter: Letter) -> Outcome:
    act = _ACTS.get(letter.state)
    return "left" if act is None else act(stage, letter)


def _retried(stage: StageJobs, letter: Letter) -> Outcome:
    from shared.jobs.retry import NotFailedError

    if letter.key is None:
        return "left"
    try:
        created = stage.retries.retry(letter.key).created
    except (GoneError, NotFailedError):
        return "left"
    return "redriven" if created else "redriven before"


def _sent_back(stage: StageJobs, letter: Letter) -> Outcome:
    """Under the id that its first delivery had: sent twice, it is still one job."""
    if letter.key is None or letter.message is None:
        return _sent_as_it_is(stage, letter)
    named = letter.message.model_copy(update={"id": letter.key.id})
    body = named.model_dump_json(exclude_defaults=True, ensure_ascii=True)
    letter.place.source.send(body, tenant=stage.tenant)
    return "redriven"


def _sent_as_it_is(stage: StageJobs, letter: Letter) -> Outcome:
    """What names its job or its batch may come twice; its attempts begin anew."""
    tenant = letter.key.tenant if letter.key else letter.delivery.tenant or stage.tenant
    body = json.dumps(json.loads(letter.delivery.body))  # S3 and schedules need not write ASCII
    letter.place.source.send(body, tenant=tenant)
    return "redriven"


_ACTS: Final[dict[State, Callable[[StageJobs, Letter], Outcome]]] = {
    "failed": _retried,
    "not admitted": _sent_back,
    "undelivered": _sent_as_it_is,
}


def _standing(stage: StageJobs, key: JobKey) -> tuple[State, str]:
    row = stage.store.get(key)
    if row is None:
        return "unknown", ""
    if row.status == "failed":
        return "failed", "" if row.failure is None else f"{row.failure.code}: {row.failure.error}"
    return ("ended" if row.status in TERMINAL else "open"), f"the job is {row.status}"


def _is_chunk(body: str) -> bool:
    try:
        message = json.loads(body)
    except ValueError:
        return False
    return isinstance(message, dict) and "chunk" in message
