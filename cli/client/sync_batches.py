"""The blocking client's calls about batches; `aio_batches` is their twin."""

from __future__ import annotations

import itertools
import time
from abc import abstractmethod
from typing import TYPE_CHECKING, Unpack

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
from cli.client.sync_jobs import JobCalls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cli.client.batches import Batch, BatchFileName, BatchOptions
    from cli.client.storage import Request


class BatchCalls(JobCalls):
    """What a blocking client does with batches."""

    @abstractmethod
    def fetch_from_storage(self, request: Request, target: str | Path) -> None:
        """Write what a call to S3 answers to a file."""

    def submit_batch(
        self, model: str, lines: bytes | str | Path, **options: Unpack[BatchOptions]
    ) -> Batch:
        """Have `model` run on every line of a file; the batch is accepted when this returns.

        `lines`: JSON lines as bytes, a file by its path, or `s3://...` where they lie already;
        the others are uploaded first. `options`: see `BatchOptions`.
        """
        uri = str(lines) if is_uri(lines) else self.upload(lines)
        return parse_batch(self.send(batch_call(model, uri, options)).content)

    def batch(self, batch: str | Batch) -> Batch:
        """The batch as it stands, with its counts and fresh addresses of its files."""
        return parse_batch(self.send(get_batch_call(batch)).content)

    def batches(self) -> Iterator[Batch]:
        """Your batches, newest first; each page is asked for when it is reached."""
        cursor: str | None = None
        while True:
            page = parse_batches(self.send(list_batches_call(cursor=cursor)).content)
            yield from page.batches
            if page.cursor is None:
                return
            cursor = page.cursor

    def wait_batch(
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
            found = self.batch(batch)
            if on_poll is not None:
                on_poll(found)
            if found.finished:
                return found
            if left_s <= 0:
                raise still_unfinished(found, timeout_s)
            time.sleep(min(left_s, poll_pause_s(polls_done)))
        raise AssertionError  # unreachable: the loop ends by returning or raising

    def cancel_batch(self, batch: str | Batch) -> Batch:
        """The batch as it then stands; one that runs is finalizing first, for what is done is kept."""
        return parse_batch(self.send(cancel_batch_call(batch)).content)

    def retry_batch(self, batch: str | Batch) -> Batch:
        """A new batch of the lines that failed; the same one if it is asked for twice.

        Raises `NotFinishedError` before the batch has ended, `BadRequestError` if no line failed.
        """
        return parse_batch(self.send(retry_batch_call(batch)).content)

    def download_batch(
        self, batch: str | Batch, target: str | Path, *, file: BatchFileName = "output"
    ) -> Batch:
        """Write a file of a batch that has ended to `target`; gives the batch.

        A file of any size: it is not read into memory. Raises `InputError` where the batch has no
        such file: none of its lines went there, or it has not ended.
        """
        found = self.batch(batch)
        self.fetch_from_storage(file_request(found, file), target)
        return found
