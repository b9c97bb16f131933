"""The messages that Laneway itself puts on queues: each names a committed row and holds nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

if TYPE_CHECKING:
    from shared.results.rows import JobKey

SCHEMA_VERSION: Final = 1


def reference(key: JobKey) -> str:
    """The body of a `ReferenceMessage` to the job; ASCII, since ids and tenants are."""
    named = {"tenant": key.tenant, "id": key.id}
    return orjson.dumps({"schema_version": SCHEMA_VERSION, "job": named}).decode("ascii")


def event(key: JobKey) -> str:
    """The body of a message on the webhooks' queue: the job ended, and its URL is to be told."""
    named = {"tenant": key.tenant, "id": key.id}
    return orjson.dumps({"schema_version": SCHEMA_VERSION, "event": named}).decode("ascii")
