"""A batch's row and its chunks as DynamoDB items, and back.

What never changes is one text, `about`; what a condition asks or an update adds to is an attribute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import orjson

from shared.results.batches import BatchKey, BatchRow, ChunkRow, Cursor, Part, Place
from shared.results.batches_cursor import listed_at
from shared.results.batches_table import ROW, SHARD, chunk_sort_key
from shared.results.rows import JobFailure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.schema.batch_status import BatchEnding, BatchStatus

Item = dict[str, Any]

_ABOUT: Final = (
    "endpoint",
    "model",
    "version",
    "pool",
    "input",
    "payload_digest",
    "created_at",
    "ttl_at",
    "metadata",
    "principal",
    "request_id",
    "retry_of",
    "not_before",
    "window",
)
_COUNTS: Final = ("dispatched", "done_chunks", "succeeded", "failed", "blank", "fence")


def key_of(key: BatchKey, index: int | None = None) -> Item:
    """The primary key of the row, or of a chunk."""
    return {"pk": text(str(key)), "sk": text(ROW if index is None else chunk_sort_key(index))}


def text(value: str) -> Item:
    """A text."""
    return {"S": value}


def number(value: float) -> Item:
    """A number, with every digit."""
    return {"N": repr(value)}


def packed(value: Any) -> Item:
    """A value that is only ever read and written whole."""
    return {"S": orjson.dumps(value).decode()}


def new_item(row: BatchRow) -> Item:
    """The item of a new row."""
    return {
        **key_of(row.key),
        "tenant": text(row.key.tenant),
        "listed_at": text(listed_at(row)),
        "counted_for": text(row.key.tenant),
        "shard": text(SHARD),
        "status": text(row.status),
        "about": packed({name: _plain(getattr(row, name)) for name in _ABOUT}),
        "purge_at": number(int(row.purge_at)),
        "due_at": number(row.created_at),
        "lease_until": number(0.0),
        "split_offset": number(0),
        "chunks": number(0),
        "lines": number(0),
        **{name: number(0) for name in _COUNTS},
    }


def row_of(item: Item) -> BatchRow:
    """The row that an item holds."""
    tenant, _, batch_id = item["pk"]["S"].partition("/")
    about = orjson.loads(item["about"]["S"])
    source = _unpacked(item, "source", {})
    failure = _unpacked(item, "failure", None)
    return BatchRow(
        key=BatchKey(tenant, batch_id),
        status=cast("BatchStatus", item["status"]["S"]),
        purge_at=float(item["purge_at"]["N"]),
        **about,
        etag=source.get("etag", ""),
        input_bytes=source.get("input_bytes", 0),
        cursor=Cursor(_int(item, "split_offset"), _int(item, "chunks"), _int(item, "lines")),
        dispatched=_int(item, "dispatched"),
        done_chunks=_int(item, "done_chunks"),
        succeeded=_int(item, "succeeded"),
        failed=_int(item, "failed"),
        blank=_int(item, "blank"),
        fence=_int(item, "fence"),
        progressed_at=_float(item, "progressed_at") or 0.0,
        lease_owner=item.get("lease_owner", {}).get("S"),
        lease_until=_float(item, "lease_until") or 0.0,
        started_at=_float(item, "started_at"),
        finished_at=_float(item, "finished_at"),
        ending=cast("BatchEnding", item.get("ending", {}).get("S", "succeeded")),
        failure=None if failure is None else JobFailure(**failure),
        uploads=_unpacked(item, "uploads", {}),
        files=_unpacked(item, "files", {}),
        due_at=_float(item, "due_at"),
    )


def chunk_item(key: BatchKey, chunk: ChunkRow, *, purge_at: float) -> Item:
    """The item of a new chunk."""
    return {
        **key_of(key, chunk.index),
        "purge_at": number(int(purge_at)),
        "status": text("open"),
        "range": packed([*chunk.begin, chunk.end, chunk.lines]),
        "attempt": number(0),
        "fence": number(0),
        "lease_until": number(0.0),
        "parts": {"L": []},
        "next": packed(list(chunk.begin)),
    }


def chunk_of(item: Item) -> ChunkRow:
    """The chunk that an item holds."""
    offset, line, end, lines = orjson.loads(item["range"]["S"])
    return ChunkRow(
        index=int(item["sk"]["S"].partition("#")[2]),
        begin=Place(offset, line),
        end=end,
        lines=lines,
        status=item["status"]["S"],
        attempt=_int(item, "attempt"),
        fence=_int(item, "fence"),
        lease_until=_float(item, "lease_until") or 0.0,
        next=Place(*orjson.loads(item["next"]["S"])),
        parts=tuple(Part(**orjson.loads(part["S"])) for part in item["parts"]["L"]),
    )


def part_item(part: Part) -> Item:
    """A part as an element of a chunk's list."""
    return packed({name: getattr(part, name) for name in part.__dataclass_fields__})


def failure_item(failure: JobFailure) -> Item:
    """A failure, packed."""
    return packed({name: getattr(failure, name) for name in failure.__dataclass_fields__})


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, dict) else value


def _unpacked(item: Mapping[str, Any], name: str, default: Any) -> Any:
    return orjson.loads(item[name]["S"]) if name in item else default


def _int(item: Mapping[str, Any], name: str) -> int:
    return int(item[name]["N"])


def _float(item: Mapping[str, Any], name: str) -> float | None:
    return float(item[name]["N"]) if name in item else None
