"""What lies on the dead-letter queues of a whole stage: webhooks' events, and the messages that steer batches.

    the message                          state           redrive
    an event of an ended job             undelivered     sent again, with all its attempts
    an event whose URL is not allowed    blocked         nothing: it would be refused again
    an event of a job that was removed   unknown         nothing
    a batch to split or to finish        batch           nothing: the finisher looks after it by itself
    an upload or a schedule, unread      not admitted    back to its queue; it names its batch, so it is one
    nothing, unreadable                  unreadable      nothing: the reason is with it

Reads jobs, and sends nothing: `cli.dead_letters` does.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from shared.jobs.batches.messages import BATCH, UnreadableError, read_batch
from shared.jobs.batches.started import RECURRING
from shared.jobs.delivery import PoisonError
from shared.jobs.webhook_event import read_event
from shared.jobs.webhooks import BLOCKED
from shared.schema.status import TERMINAL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.results.rows import JobKey
    from shared.results.store import JobStore

WEBHOOKS: Final = "webhooks"
SPLIT: Final = "batch-split"
FINISH: Final = "batch-finish"


class Judged(NamedTuple):
    """A message's state, why it is here, and what it is about."""

    state: str
    reason: str
    subject: str = ""
    key: JobKey | None = None


def judge_event(store: JobStore, body: str, *, given: str) -> Judged:
    """What came of an event; `given`: the reason that the webhooks' function left with it."""
    try:
        key = read_event(body)
    except PoisonError as error:
        return Judged("unreadable", given or str(error))
    row = store.get(key)
    if row is None:
        return Judged("unknown", given or "the job was removed", str(key), key)
    if row.status not in TERMINAL or row.webhook is None:
        return Judged("open", f"the job is {row.status} and asks for no event", str(key), key)
    state = "blocked" if given.startswith(BLOCKED) else "undelivered"
    return Judged(state, given or "received too often without an end", str(key), key)


def judge_control(store: JobStore, body: str, *, given: str) -> Judged:  # noqa: ARG001  as `judge_event`
    """What came of a message to the splitter or the finisher."""
    try:
        message: Any = json.loads(body)
        if BATCH in message:
            key = read_batch(message)
            looked = "the finisher looks after batches that stand still, every minute"
            return Judged("batch", given or looked, f"{key.tenant}/{key.id}")
    except (TypeError, ValueError, UnreadableError) as error:
        return Judged("unreadable", given or f"the message is no batch: {error}")
    if RECURRING not in message and "Records" not in message:
        return Judged("unreadable", given or "the message names no batch, schedule or upload")
    if given:
        return Judged("refused", given)
    return Judged("not admitted", "received too often without becoming a batch")


JUDGES: Final[Mapping[str, Callable[..., Judged]]] = {
    WEBHOOKS: judge_event,
    SPLIT: judge_control,
    FINISH: judge_control,
}
"""By the kind of the queue."""
