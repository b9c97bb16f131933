"""Batches as the client speaks of them: what is asked, what comes back. It sends nothing.

A batch runs a model over a file of lines; docs/batches.md has the form of a line and of an answer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict
from urllib.parse import quote, urlencode
from uuid import uuid4

from cli.client.errors import InputError, ProtocolError, WaitTimeoutError
from cli.client.jobs import JobError, parse_error
from cli.client.metadata import parse_json
from cli.client.protocol import Call, model_path
from cli.client.storage import Request
from shared.schema.batch_status import BATCH_TERMINAL

if TYPE_CHECKING:
    from collections.abc import Mapping

BatchFileName = Literal["output", "errors", "refused", "manifest"]
BATCHES_PATH: Final = "/v2/batches"
FILES: Final[tuple[BatchFileName, ...]] = ("output", "errors", "refused", "manifest")


class BatchOptions(TypedDict, total=False):
    """What may be said of a batch beside its model and lines. What is left out is the stage's default."""

    version: str | None
    idempotency_key: str | None
    """Submitting it again under the key gives the same batch. Without one, each call is a new batch."""
    ttl_s: int | None
    """How long it may take from when it may begin; then it expires with what is done."""
    not_before: datetime | str | None
    """When it may begin: with an offset from UTC; as text, ISO 8601."""
    window: str | None
    """Hours in UTC in which chunks of it may begin: `22:00-06:00`."""
    metadata: Mapping[str, str] | None


_NOT_IN_BODY: Final = frozenset({"version", "idempotency_key"})


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """Lines; of a batch that runs, those not counted yet are still to come."""

    total: int
    succeeded: int
    failed: int


@dataclass(frozen=True, slots=True)
class BatchFile:
    """A file that the batch wrote; `url`: where it can be read for some minutes, without a key."""

    uri: str
    size_bytes: int
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch as it stood when it was asked for. Times are ISO 8601 in UTC."""

    id: str
    status: str
    """validating, scheduled, running, finalizing, succeeded, failed, canceled or expired."""
    endpoint: str
    model: str
    version: str
    input: str
    counts: BatchCounts
    created_at: str
    started_at: str | None = None
    finished_at: str | None = None
    expires_at: str = ""
    not_before: str | None = None
    window: str | None = None
    error: JobError | None = None
    """Why the batch as a whole failed."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    retry_of: str | None = None
    files: Mapping[str, BatchFile] = field(default_factory=dict)
    """By name: `output`, `errors`, `refused`, `manifest`. A file without a line is left out."""

    @property
    def finished(self) -> bool:
        """Whether the batch has ended, one way or another."""
        return self.status in BATCH_TERMINAL


@dataclass(frozen=True, slots=True)
class BatchPage:
    """Some batches, newest first, and where to go on; `cursor` None: this is the last page."""

    batches: tuple[Batch, ...]
    cursor: str | None


def batch_call(model: str, uri: str, options: BatchOptions) -> Call:
    """The call that submits; it may be sent twice and makes one batch."""
    said: dict[str, Any] = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in options.items()
        if value is not None and name not in _NOT_IN_BODY
    }
    endpoint = f"{model_path(model, options.get('version'))}/infer"
    headers = {
        "Content-Type": "application/json",
        "Idempotency-Key": options.get("idempotency_key") or uuid4().hex,
    }
    body = json.dumps({"endpoint": endpoint, "input": uri, **said}).encode()
    return Call("POST", BATCHES_PATH, headers, body)


def get_batch_call(batch: str | Batch) -> Call:
    """The call for the batch as it stands."""
    return Call("GET", _path(batch))


def cancel_batch_call(batch: str | Batch) -> Call:
    """The call that cancels a batch; one that has ended stays as it ended."""
    return Call("POST", f"{_path(batch)}/cancel")


def retry_batch_call(batch: str | Batch) -> Call:
    """The call for a new batch of the lines that failed; the same one if it is asked for twice."""
    return Call("POST", f"{_path(batch)}/retry")


def list_batches_call(*, cursor: str | None) -> Call:
    """The call for one page of batches."""
    return Call(
        "GET", f"{BATCHES_PATH}?{urlencode({'cursor': cursor})}" if cursor else BATCHES_PATH
    )


def file_request(batch: Batch, name: BatchFileName) -> Request:
    """The call that reads a file of a batch; raises `InputError` where there is none."""
    file = batch.files.get(name)
    if file is None or file.url is None:
        there = ", ".join(batch.files) or "none"
        raise InputError(
            f"batch {batch.id} is {batch.status} and has no file {name!r}; its files: {there}"
        )
    return Request("GET", file.url, {"auth": None})


def parse_batch(body: bytes) -> Batch:
    """A batch's page."""
    return _batch(parse_json(body))


def parse_batches(body: bytes) -> BatchPage:
    """One page of a list."""
    value = parse_json(body)
    found = tuple(_batch(item) for item in value.get("batches") or ())
    return BatchPage(found, value.get("cursor"))


def still_unfinished(batch: Batch, timeout_s: float) -> WaitTimeoutError:
    """The error for a batch that had not ended when the wait for it did."""
    return WaitTimeoutError(
        f"batch {batch.id} is {batch.status} after {timeout_s:g} s; it goes on: wait again, or cancel it"
    )


def _path(batch: str | Batch) -> str:
    batch_id = batch.id if isinstance(batch, Batch) else batch
    return f"{BATCHES_PATH}/{quote(batch_id, safe='')}"


def _batch(value: Mapping[str, Any]) -> Batch:
    try:
        counts, error = value["counts"], value.get("error")
        return Batch(
            id=str(value["id"]),
            status=str(value["status"]),
            endpoint=str(value["endpoint"]),
            model=str(value["model"]),
            version=str(value["version"]),
            input=str(value["input"]),
            counts=BatchCounts(
                int(counts["total"]), int(counts["succeeded"]), int(counts["failed"])
            ),
            created_at=str(value["created_at"]),
            started_at=value.get("started_at"),
            finished_at=value.get("finished_at"),
            expires_at=str(value.get("expires_at", "")),
            not_before=value.get("not_before"),
            window=value.get("window"),
            error=None if error is None else parse_error(error),
            metadata=value.get("metadata") or {},
            retry_of=value.get("retry_of"),
            files=_files(value.get("files") or {}),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as failure:
        raise ProtocolError(f"not a batch: {value!r:.200}") from failure


def _files(value: Mapping[str, Any]) -> dict[str, BatchFile]:
    return {
        name: BatchFile(str(file["uri"]), int(file["size_bytes"]), file.get("url"))
        for name in FILES
        if (file := value.get(name)) is not None
    }
