"""A delivery's message read, and the three ways in which a delivery can end.

Knows nothing of stores or models: what it cannot read can never be worked on.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import random
from typing import TYPE_CHECKING, Final

import orjson
from pydantic import ValidationError

from shared.errors import TooLargeError
from shared.jobs.messages import read_reference
from shared.limits import JSON_CONTAINERS_MAX, MESSAGE_BYTES_MAX
from shared.results.store import JobKey
from shared.schema.job import SCHEMA_VERSION, ReferenceMessage, SubmissionMessage
from shared.schema.wire import check_json_size

if TYPE_CHECKING:
    from shared.queues.protocol import Delivery

JITTER_S: Final = 5.0
FORWARDED: Final = "forwarded"
"""Attribute of a message that another pool's worker sent on: it is not sent on again."""


@dataclass(frozen=True, slots=True)
class Done:
    """The work is done, or there was none: remove the message."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Deliver the message again, `after_s` from now."""

    after_s: float


@dataclass(frozen=True, slots=True)
class Bury:
    """The message can never be worked on: to the dead-letter queue with it."""

    reason: str


Outcome = Done | Retry | Bury
DONE: Final = Done()


class PoisonError(ValueError):
    """A message that cannot be read; its text is the reason, without the caller's values."""


def read_message(body: str) -> JobKey | SubmissionMessage:
    """The job that a message names, or the submission that it is. Raises `PoisonError`."""
    if (key := read_reference(body)) is not None:
        return key
    if len(body) > MESSAGE_BYTES_MAX:
        raise PoisonError(f"the message has {len(body)} bytes, more than {MESSAGE_BYTES_MAX}")
    try:
        if len(body) > JSON_CONTAINERS_MAX:  # shorter JSON has fewer lists than that
            check_json_size(body.encode("utf-8", "surrogatepass"))
        message = orjson.loads(body)
    except TooLargeError as error:
        raise PoisonError(f"the message is not parsed: {error.message}") from error
    except orjson.JSONDecodeError as error:
        raise PoisonError(f"the message is not JSON: {error}") from error
    if not isinstance(message, dict):
        raise PoisonError("the message is not a JSON object")
    version = message.get("schema_version")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        known = "none" if version is None else repr(version)[:40]
        raise PoisonError(f"schema_version is {known}; this worker reads {SCHEMA_VERSION}")
    try:
        if "job" not in message:
            return SubmissionMessage.model_validate(message)
        named = ReferenceMessage.model_validate(message).job
    except ValidationError as error:
        raise PoisonError(_first_fault(error)) from error
    return JobKey(named.tenant, named.id)


def jitter_s() -> float:
    """What keeps messages that were handed back together from coming back together."""
    return random() * JITTER_S  # noqa: S311  spreads load, guards nothing


def job_id(message: SubmissionMessage, delivery: Delivery) -> str:
    """The id of a dropped job: its own, else one that every redelivery has again."""
    return message.id or f"m-{delivery.message_id}"


def was_forwarded(delivery: Delivery) -> bool:
    """Whether another worker sent the message on to this queue."""
    return FORWARDED in delivery.attributes


def _first_fault(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]
