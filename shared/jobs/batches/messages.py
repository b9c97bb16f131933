"""The messages of batches: each names a committed batch, or a chunk of one, and holds nothing else."""

from __future__ import annotations

from typing import Final

import orjson

from shared.results.batches import BatchKey

SCHEMA_VERSION: Final = 1
BATCH: Final = "batch"
CHUNK: Final = "chunk"
CHUNKS: Final = "chunks"
"""The name of a pool's queue of chunks, among its queues."""


class UnreadableError(ValueError):
    """A message that is none of ours."""


def batch_message(key: BatchKey) -> str:
    """To the splitter or the finisher: look at this batch."""
    named = {"tenant": key.tenant, "id": key.id}
    return orjson.dumps({"schema_version": SCHEMA_VERSION, BATCH: named}).decode()


def chunk_message(key: BatchKey, index: int) -> str:
    """To a pool's worker: run this chunk."""
    named = {"tenant": key.tenant, "batch": key.id, "index": index}
    return orjson.dumps({"schema_version": SCHEMA_VERSION, CHUNK: named}).decode()


def read_batch(message: object) -> BatchKey:
    """The batch that a parsed message names; raises `UnreadableError`."""
    named = _named(message, BATCH)
    return BatchKey(_text(named, "tenant"), _text(named, "id"))


def read_chunk(body: str) -> tuple[BatchKey, int]:
    """The chunk that a message names; raises `UnreadableError`."""
    try:
        named = _named(orjson.loads(body), CHUNK)
    except orjson.JSONDecodeError as error:
        raise UnreadableError(f"the message is not JSON: {error}") from error
    index = named.get("index")
    if index.__class__ is not int:
        raise UnreadableError("chunk.index should be a number")
    return BatchKey(_text(named, "tenant"), _text(named, "batch")), index


def _named(message: object, member: str) -> dict[str, object]:
    if not isinstance(message, dict) or message.get("schema_version") != SCHEMA_VERSION:
        raise UnreadableError(
            f"the message is not a JSON object of schema_version {SCHEMA_VERSION}"
        )
    named = message.get(member)
    if not isinstance(named, dict):
        raise UnreadableError(f"the message names no {member}")
    return named


def _text(named: dict[str, object], member: str) -> str:
    value = named.get(member)
    if not isinstance(value, str) or not value:
        raise UnreadableError(f"{member} should be a text")
    return value
