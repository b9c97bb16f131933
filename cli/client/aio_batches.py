"""The asyncio client's calls about batches, the twins of those in `sync_batches`."""

from __future__ import annotations

import asyncio
import itertools
import time
from abc import abstractmethod
from typing import TYPE_CHECKING, Unpack

from cli.client.aio_jobs import AsyncJobCalls
from cli.client.batches import (
    batch_call,
    cancel_batch_call,
    file_request,
    get_batch_call,
    list_batches_call,
    parse_batch,
    parse_batches,
    retry_batch_call,
    still_unfinished,
)
from cli.client.jobs import poll_pause_s
from cli.client.storage import is_uri

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from cli.client.batches import Batch, BatchFileName, BatchOptions
    from cli.client.storage import Request


class AsyncBatchCalls(AsyncJobCalls):
    """What an asyncio client does with batches."""

    @abstractmethod
    async def fetch_from_storage(self, request: Request, target: str | Path) -> None:
        """Write what a call to S3 answers to a file."""

    async def submit_batch(
        self, model: str, lines: bytes | str | Path, **options: Unpack[BatchOptions]
    ) -> Batch:
        """Have `model` run on every line of a file; the batch is accepted when this returns.

        `lines`: JSON lines as bytes, a file by its path, or `s3://...` where they lie already;
        the others are uploaded first. `options`: see `BatchOptions`.
        """
        uri = str(lines) if is_uri(lines) else await self.upload(lines)
        return parse_batch((await self.send(batch_call(model, uri, options))).content)

    async def batch(self, batch: str | Batch) -> Batch:
        """The batch as it stands, with its counts and fresh addresses of its files."""
        return parse_batch((await self.send(get_batch_call(batch))).content)

    async def batches(self) -> AsyncIterator[Batch]:
        """Your batches, newest first; each page is asked for when it is reached."""
        cursor: str | None = None
        while True:
            page = parse_batches((await self.send(list_batches_call(cursor=cursor))).content)
            for batch in page.batches:
                yield batch
            if page.cursor is None:
                return
            cursor = page.cursor

    async def wait_batch(
        self,
        batch: str | Batch,
        *,
        timeout_s: float = 86_400.0,
        on_poll: Callable[[Batch], None] | None = None,
    ) -> Batch:
        """The batch once it has ended; `WaitTimeoutError` after `timeout_s`, and the batch goes on.

        Looks again after a pause that grows from 0.1 to 5 s; `on_poll` gets the batch at each look.
        """
        ends_at_s = time.monotonic() + timeout_s
        for polls_done in itertools.count():
            left_s = ends_at_s - time.monotonic()
            found = await self.batch(batch)
            if on_poll is not None:
                on_poll(found)
            if found.finished:
                return found
            if left_s <= 0:
                raise still_unfinished(found, timeout_s)
            await asyncio.sleep(min(left_s, poll_pause_s(polls_done)))
        raise AssertionError  # unreachable: the loop ends by returning or raising

    async def cancel_batch(self, batch: str | Batch) -> Batch:
        """The batch as it then stands; one that runs is finalizing first, for what is done is kept."""
        return parse_batch((await self.send(cancel_batch_call(batch))).content)

    async def retry_batch(self, batch: str | Batch) -> Batch:
        """A new batch of the lines that failed; the same one if it is asked for twice.

        Raises `NotFinishedError` before the batch has ended, `BadRequestError` if no line failed.
        """
        return parse_batch((await self.send(retry_batch_call(batch))).content)

    async def download_batch(
        self, batch: str | Batch, target: str | Path, *, file: BatchFileName = "output"
    ) -> Batch:
        """Write a file of a batch that has ended to `target`; gives the batch.

        A file of any size: it is not read into memory. Raises `InputError` where the batch has no
        such file: none of its lines went there, or it has not ended.
        """
        found = await self.batch(batch)
        await self.fetch_from_storage(file_request(found, file), target)
        return found
