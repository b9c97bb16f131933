"""A job's row as a DynamoDB item, and back. Numbers keep every digit: a time is compared for equality.

The inline bytes are attributes of their own, so that the indexes can leave them out; what never
changes and is never searched for is one map, `submission`, because an index holds 20 attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast
from zlib import crc32

from shared.results.cursor import listed_at
from shared.results.rows import JobFailure, JobKey, JobResult, JobRow, Payload, RunFacts
from shared.results.table import SHARDS
from shared.schema.status import TERMINAL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.schema.job import Priority
    from shared.schema.status import JobStatus

Item = dict[str, Any]
"""Attribute name to `{"S": ...}`, `{"N": ...}`, `{"B": ...}` or `{"M": ...}`."""

INPUT_BYTES: Final = "input_bytes"
RESULT_BYTES: Final = "result_bytes"


def key_of(key: JobKey) -> Item:
    """The primary key."""
    return {"pk": {"S": str(key)}}


def to_item(row: JobRow, *, token: str) -> Item:
    """The item of a new row; `token` names the call that puts it."""
    shard = {"S": str(crc32(str(row.key).encode()) % SHARDS)}
    attributes = {
        **key_of(row.key),
        "tenant": text(row.key.tenant),
        "listed_at": text(listed_at(row)),
        "shard": shard,
        "hook": shard if row.webhook is not None else None,
        "counted_for": text(row.key.tenant) if row.counted else None,
        "put_token": text(token),
        "status": text(row.status),
        "model": text(row.model),
        "submission": _submission(row),
        "created_at": number(row.created_at),
        "ttl_at": number(row.ttl_at),
        "max_attempts": number(row.max_attempts),
        "attempt": number(row.attempt),
        "fence": number(row.fence),
        "lease": lease(row.lease_owner, row.lease_until) if row.lease_owner else None,
        "started_at": number(row.started_at),
        "unsent_at": number(row.unsent_at),
        "due_at": number(row.due_at),
        "input": payload(row.input),
        INPUT_BYTES: _bytes(row.input.inline),
    }
    return {name: value for name, value in attributes.items() if value is not None}


def from_item(item: Mapping[str, Any]) -> JobRow:
    """The row of an item, or of an index's part of one: then payloads have no bytes."""
    tenant, _, job_id = item["pk"]["S"].rpartition("/")
    submission = item["submission"]["M"]
    held = item.get("lease", {}).get("M", {})
    status = cast("JobStatus", item["status"]["S"])
    hook_unsent = status in TERMINAL and "hook" in item and "hook_at" in item
    return JobRow(
        key=JobKey(tenant, job_id),
        status=status,
        model=item["model"]["S"],
        version=submission["version"]["S"],
        pool=submission["pool"]["S"],
        lane=submission["lane"]["S"],
        latency_class=submission["latency_class"]["S"],
        input=_read_payload(item["input"]["M"], item.get(INPUT_BYTES)),
        payload_digest=submission["payload_digest"]["S"],
        created_at=float(item["created_at"]["N"]),
        ttl_at=float(item["ttl_at"]["N"]),
        timeout_s=float(submission["timeout_s"]["N"]),
        max_attempts=int(item["max_attempts"]["N"]),
        purge_at=float(submission["purge_at"]["N"]),
        attempt=int(item["attempt"]["N"]),
        fence=int(item["fence"]["N"]),
        lease_owner=_string(held, "owner"),
        lease_until=_float(held, "until") or 0.0,
        started_at=_float(item, "started_at"),
        finished_at=_float(item, "finished_at"),
        result=_read_result(item),
        failure=_read_failure(item),
        facts=_read_facts(item),
        webhook=_string(submission, "webhook"),
        webhook_unsent=hook_unsent,
        result_alias=_string(submission, "result_alias"),
        metadata={name: value["S"] for name, value in submission["metadata"]["M"].items()},
        retry_of=_string(submission, "retry_of"),
        priority=cast("Priority", _string(submission, "priority") or "normal"),
        principal=_string(submission, "principal") or "queue",
        request_id=_string(submission, "request_id") or "",
        unsent_at=_float(item, "hook_at") if hook_unsent else _float(item, "unsent_at"),
        due_at=_float(item, "due_at"),
        counted="counted_for" in item,
    )


def text(value: str | None) -> Item | None:
    """A string attribute."""
    return None if value is None else {"S": value}


def number(value: float | None) -> Item | None:
    """A number attribute; `repr` of a float loses no digit, and DynamoDB keeps 38."""
    if value is None:
        return None
    return {"N": repr(float(value)) if isinstance(value, float) else str(value)}


def lease(owner: str, until: float, token: str | None = None) -> Item:
    """The lease of a running job; `token` names the call that took it."""
    return _map(owner=text(owner), until=number(until), token=text(token))


def payload(value: Payload) -> Item:
    """A payload without its bytes."""
    return _map(
        size_bytes=number(value.size_bytes),
        sha256=text(value.sha256),
        s3_key=text(value.s3_key),
        header_length=number(value.header_length),
    )


def result(value: JobResult) -> Item:
    """A result without its bytes."""
    return _map(
        status_code=number(value.status_code),
        headers=_map(**{name: text(line) for name, line in value.headers.items()}),
        payload=payload(value.payload),
    )


def failure(value: JobFailure) -> Item:
    """A failure."""
    return _map(
        status_code=number(value.status_code),
        code=text(value.code),
        error=text(value.error),
        field=text(value.field),
    )


def facts(value: RunFacts) -> Item:
    """What is known of the run."""
    return _map(
        queue_ms=number(value.queue_ms),
        run_ms=number(value.run_ms),
        rows_stacked=number(value.rows_stacked),
    )


def _submission(row: JobRow) -> Item:
    return _map(
        version=text(row.version),
        pool=text(row.pool),
        lane=text(row.lane),
        latency_class=text(row.latency_class),
        payload_digest=text(row.payload_digest),
        timeout_s=number(row.timeout_s),
        purge_at=number(int(row.purge_at)),
        webhook=text(row.webhook),
        result_alias=text(row.result_alias),
        retry_of=text(row.retry_of),
        priority=text(row.priority) if row.priority != "normal" else None,
        principal=text(row.principal) if row.principal != "queue" else None,
        request_id=text(row.request_id) if row.request_id else None,
        metadata=_map(**{name: text(value) for name, value in row.metadata.items()}),
    )


def _map(**members: Item | None) -> Item:
    return {"M": {name: value for name, value in members.items() if value is not None}}


def _bytes(value: bytes | None) -> Item | None:
    return None if value is None else {"B": value}


def _read_payload(kept: Mapping[str, Any], data: Mapping[str, Any] | None) -> Payload:
    header_length = kept.get("header_length")
    return Payload(
        size_bytes=int(kept["size_bytes"]["N"]),
        sha256=kept["sha256"]["S"],
        inline=None if data is None else bytes(data["B"]),
        s3_key=_string(kept, "s3_key"),
        header_length=None if header_length is None else int(header_length["N"]),
    )


def _read_result(item: Mapping[str, Any]) -> JobResult | None:
    if "result" not in item:
        return None
    kept = item["result"]["M"]
    return JobResult(
        status_code=int(kept["status_code"]["N"]),
        headers={name: value["S"] for name, value in kept["headers"]["M"].items()},
        payload=_read_payload(kept["payload"]["M"], item.get(RESULT_BYTES)),
    )


def _read_failure(item: Mapping[str, Any]) -> JobFailure | None:
    if "failure" not in item:
        return None
    kept = item["failure"]["M"]
    return JobFailure(
        status_code=int(kept["status_code"]["N"]),
        code=kept["code"]["S"],
        error=kept["error"]["S"],
        field=_string(kept, "field"),
    )


def _read_facts(item: Mapping[str, Any]) -> RunFacts | None:
    if "run" not in item:
        return None
    kept = item["run"]["M"]
    return RunFacts(
        queue_ms=float(kept["queue_ms"]["N"]),
        run_ms=float(kept["run_ms"]["N"]),
        rows_stacked=int(kept["rows_stacked"]["N"]),
    )


def _string(kept: Mapping[str, Any], name: str) -> str | None:
    return kept[name]["S"] if name in kept else None


def _float(kept: Mapping[str, Any], name: str) -> float | None:
    return float(kept[name]["N"]) if name in kept else None
