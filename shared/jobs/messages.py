"""The messages that Laneway itself puts on queues: each names a committed row and holds nothing else."""

from __future__ import annotations

import re
from typing import Final

import orjson

from shared.results.rows import JobKey

SCHEMA_VERSION: Final = 1
_REFERENCE: Final = re.compile(
    r'\{"schema_version":1,"job":\{"tenant":"([A-Za-z0-9_.:@=+-]{1,128})","id":"([A-Za-z0-9_-]{1,64})"\}\}'
)
"""Exactly what `reference` writes; the characters are those of `shared.schema.job`."""


def reference(key: JobKey) -> str:
    """The body of a `ReferenceMessage` to the job; ASCII, since ids and tenants are."""
    named = {"tenant": key.tenant, "id": key.id}
    return orjson.dumps({"schema_version": SCHEMA_VERSION, "job": named}).decode("ascii")


def read_reference(body: str) -> JobKey | None:
    """The job in a message as `reference` writes it; None: the message is another, or written otherwise."""
    found = _REFERENCE.fullmatch(body)
    return None if found is None else JobKey(*found.groups())


def event(key: JobKey) -> str:
    """The body of a message on the webhooks' queue: the job ended, and its URL is to be told."""
    named = {"tenant": key.tenant, "id": key.id}
    return orjson.dumps({"schema_version": SCHEMA_VERSION, "event": named}).decode("ascii")
