"""Removes a tenant's messages from a stage's dead-letter queues: one that a user dropped holds an input."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_plus

from cli.dead_letters import letters
from shared.jobs.messages import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cli.stage_jobs import DeadLetters, StageJobs
    from shared.queues.protocol import Delivery

LETTERS_MAX: Final = 100_000
_QUEUES_AT_ONCE: Final = 10
"""As many as botocore has connections for."""


def erase_letters(stage: StageJobs, tenant: str) -> int:
    """Remove the tenant's messages from the dead-letter queues; one that a user dropped holds an input.

    All queues at once: each is waited for until it seems empty.
    """
    with ThreadPoolExecutor(max_workers=_QUEUES_AT_ONCE) as threads:
        return sum(threads.map(partial(_erase_from, stage, tenant), stage.dead_letters))


def _erase_from(stage: StageJobs, tenant: str, place: DeadLetters) -> int:
    removed: set[str] = set()
    with closing(letters(stage, place, limit=LETTERS_MAX, removed=removed)) as found:
        for letter in found:
            if owner_of(letter.delivery, dropped=stage.tenant) == tenant:
                place.queue.acknowledge(letter.delivery)
                removed.add(letter.delivery.message_id)
    return len(removed)


def owner_of(delivery: Delivery, *, dropped: str) -> str:
    """Whose a message is; `dropped`: whose those are that users put on a queue themselves."""
    try:
        body = json.loads(delivery.body)
    except ValueError:
        return delivery.tenant or dropped
    if not isinstance(body, dict):
        return delivery.tenant or dropped
    for name in ("job", "event", "batch", "chunk", "recurring"):
        named = body.get(name)
        if body.get("schema_version") == SCHEMA_VERSION and isinstance(named, dict):
            return str(named.get("tenant", dropped))
    return _uploader(body) or dropped


def _uploader(body: Mapping[str, Any]) -> str:
    """The tenant of an upload that the bucket told of."""
    try:
        key = unquote_plus(body["Records"][0]["s3"]["object"]["key"])
    except (KeyError, IndexError, TypeError):
        return ""
    place, _, rest = key.partition("/")
    return rest.partition("/")[0] if place == "uploads" else ""
