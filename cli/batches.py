"""What the commands about batches do with a client: submit a file, follow a batch, show batches."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode
from uuid import uuid4

from cli.client.metadata import parse_json
from cli.client.protocol import Call
from cli.output import CommandError, answer_table, console
from shared.schema.batch_status import BATCH_TERMINAL

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rich.progress import Progress

    from cli.client import Laneway

PATH: Final = "/v2/batches"
POLL_S: Final = 1.0
_JSON: Final = {"Content-Type": "application/json"}

Batch = dict[str, Any]
"""A batch's page, as the service gives it."""


def submit(client: Laneway, source: str, members: Batch, *, key: str | None = None) -> Batch:
    """Submit a file, or lines that are on S3 already (`s3://...`); one batch, however often it is sent."""
    uri = source if source.startswith("s3://") else client.upload(source)
    body = json.dumps({**members, "input": uri}).encode()
    headers = {**_JSON, "Idempotency-Key": key or uuid4().hex}
    return _read(client, Call("POST", PATH, headers, body))


def show(client: Laneway, batch_id: str) -> Batch:
    """The batch."""
    return _read(client, Call("GET", _path(batch_id)))


def cancel(client: Laneway, batch_id: str) -> Batch:
    """Cancel it; what is done of it is kept."""
    return _read(client, Call("POST", f"{_path(batch_id)}/cancel"))


def retry(client: Laneway, batch_id: str) -> Batch:
    """A new batch of the lines that failed."""
    return _read(client, Call("POST", f"{_path(batch_id)}/retry"))


def newest(client: Laneway, limit: int) -> list[Batch]:
    """The newest batches."""
    found: list[Batch] = []
    cursor: str | None = None
    while len(found) < limit:
        asked = {"limit": min(100, limit - len(found)), **({"cursor": cursor} if cursor else {})}
        page = _read(client, Call("GET", f"{PATH}?{urlencode(asked)}"))
        found += page["batches"]
        cursor = page["cursor"]
        if cursor is None:
            break
    return found


def follow(client: Laneway, batch: Batch, *, sleep: Callable[[float], None] = time.sleep) -> Batch:
    """Show a bar with rate and time left until the batch has ended; gives it as it ended."""
    with _progress() as progress:
        task = progress.add_task(batch["status"], total=None, failed=0)
        while True:
            counts = batch["counts"]
            done = counts["succeeded"] + counts["failed"]
            progress.update(
                task,
                description=batch["status"],
                completed=done,
                total=counts["total"] if batch["started_at"] else None,
                failed=counts["failed"],
            )
            if batch["status"] in BATCH_TERMINAL:
                return batch
            sleep(POLL_S)
            batch = show(client, batch["id"])


def _progress() -> Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """Lines a second, lately."""

        def render(self, task: Any) -> Text:
            return Text(f"{task.speed:,.0f} lines/s" if task.speed else "")

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TextColumn("{task.fields[failed]} failed"),
        TimeRemainingColumn(),
        console=console(stderr=True),
    )


def download(client: Laneway, batch: Batch, name: str, target: Path) -> None:
    """Write a file of a batch that has ended to `target`, piece by piece."""
    import httpx

    del client  # the address is its own proof of identity: no key is sent to S3
    url = ((batch["files"] or {}).get(name) or {}).get("url")
    if url is None:
        raise CommandError(f"batch {batch['id']} has no {name}; it is {batch['status']}")
    with httpx.stream("GET", url) as response, target.open("wb") as file:
        response.raise_for_status()
        for piece in response.iter_bytes():
            file.write(piece)


def show_table(batches: list[Batch]) -> None:
    """The batches for people."""
    answer_table(
        ("batch", "status", "model", "lines", "succeeded", "failed", "created"),
        [
            (
                batch["id"],
                batch["status"],
                f"{batch['model']} {batch['version']}",
                *(str(batch["counts"][name]) for name in ("total", "succeeded", "failed")),
                batch["created_at"],
            )
            for batch in batches
        ],
    )


def _path(batch_id: str) -> str:
    return f"{PATH}/{quote(batch_id, safe='')}"


def _read(client: Laneway, call: Call) -> Batch:
    value: Batch = parse_json(client.send(call).content)
    return value
