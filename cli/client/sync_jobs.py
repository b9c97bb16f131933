"""The blocking client's calls about jobs; `aio_jobs` is their twin."""

from __future__ import annotations

import itertools
import time
from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

from cli.client.base import ClientBase, needs_signature, tensors_of
from cli.client.errors import NotFinishedError, NotFoundError
from cli.client.jobs import (
    JobInput,
    StoredInput,
    cancel_call,
    job_path,
    list_call,
    needs_upload,
    parse_job,
    parse_page,
    poll_pause_s,
    result_call,
    still_running,
    submission,
    submit_call,
)
from cli.client.protocol import Call, infer_call
from cli.client.storage import (
    Request,
    answer_of,
    fetch_request,
    opened,
    parse_place,
    place_call,
    upload_request,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import httpx

    from cli.client.jobs import Job, JobOptions
    from cli.client.metadata import ModelMetadata
    from cli.client.protocol import Result
    from cli.client.retry import RetryPolicy
    from cli.client.storage import RawResult


class JobCalls(ClientBase):
    """What a blocking client does with jobs."""

    @abstractmethod
    def send(self, call: Call, *, retry: RetryPolicy | None = None) -> httpx.Response:
        """Send one call to the service."""

    @abstractmethod
    def send_to_storage(self, request: Request) -> httpx.Response:
        """Send one call to S3, without the service's credentials."""

    @abstractmethod
    def _signature(self, model: str, version: str | None) -> ModelMetadata: ...

    def submit(
        self,
        model: str,
        inputs: Mapping[str, Any] | StoredInput,
        *,
        outputs: Sequence[str] | None = None,
        binary: bool = True,
        **options: Unpack[JobOptions],
    ) -> Job:
        """Have `model` run on `inputs` later; the job is accepted when this returns.

        `inputs`, `outputs` and `binary` as for `infer`; an input too large for a call is uploaded
        first, and one that is on S3 already is a `StoredInput`. `options`: see `JobOptions`.
        """
        if isinstance(inputs, StoredInput):
            return self.submit_request(model, inputs, **options)
        version = options.get("version")
        signature = self._signature(model, version) if needs_signature(inputs) else None
        tensors = tensors_of(inputs, signature)
        call = infer_call(model, tensors, version=version, outputs=outputs, binary=binary)
        return self.submit_request(model, JobInput.of(call), **options)

    def submit_request(
        self, model: str, source: JobInput | StoredInput, **options: Unpack[JobOptions]
    ) -> Job:
        """As `submit`, for a request in the protocol's own bytes."""
        if isinstance(source, JobInput) and needs_upload(source):
            source = StoredInput(self.upload(source.body), source.header_length)
        members = submission(model, source, options)
        return parse_job(self.send(submit_call(members, options, compress=self._compress)).content)

    def upload(self, source: bytes | str | Path) -> str:
        """Put bytes, or a file by its path, where a job may read them; gives the `s3://` URI."""
        with opened(source) as (size_bytes, content):
            place = parse_place(self.send(place_call(size_bytes)).content)
            self.send_to_storage(upload_request(place, content))
        return place.uri

    def job(self, job: str | Job) -> Job:
        """The job as it stands."""
        return parse_job(self.send(Call("GET", job_path(job))).content)

    def jobs(self, *, status: str | None = None, model: str | None = None) -> Iterator[Job]:
        """Your jobs, newest first; each page is asked for when it is reached."""
        cursor: str | None = None
        while True:
            call = list_call(status=status, model=model, cursor=cursor)
            page = parse_page(self.send(call).content)
            yield from page.jobs
            if page.cursor is None:
                return
            cursor = page.cursor

    def wait(
        self,
        job: str | Job,
        *,
        timeout_s: float = 300.0,
        on_poll: Callable[[Job], None] | None = None,
        may_appear: bool = False,
    ) -> Job:
        """The job once it has ended; `WaitTimeoutError` after `timeout_s`, and the job goes on.

        Looks again after a pause that grows from 0.1 to 5 s; `on_poll` gets the job at each look.
        `may_appear`: an unknown id is waited for too, for a message that lies on a queue is no job
        before it is received.
        """
        ends_at_s = time.monotonic() + timeout_s
        for polls_done in itertools.count():
            left_s = ends_at_s - time.monotonic()
            try:
                response = self.send(Call("GET", job_path(job)))
            except NotFoundError:
                if not may_appear or left_s <= 0:
                    raise
                time.sleep(min(left_s, poll_pause_s(polls_done)))
                continue
            found = parse_job(response.content)
            if on_poll is not None:
                on_poll(found)
            if found.finished:
                return found
            if left_s <= 0:
                raise still_running(found, timeout_s)
            time.sleep(min(left_s, poll_pause_s(polls_done, response.headers)))
        raise AssertionError  # unreachable: the loop ends by returning or raising

    def result(self, job: str | Job) -> Result:
        """What the job answered, as `infer` would have given it.

        Raises `NotFinishedError` before it has ended, `GoneError` for one that was canceled or
        expired, and for one that failed the very error that `infer` would have raised.
        """
        return self.raw_result(job).parsed()

    def raw_result(self, job: str | Job) -> RawResult:
        """As `result`, in the protocol's bytes."""
        retry = replace(self._retry, never_after=(NotFinishedError,))
        response = self.send(result_call(job), retry=retry)
        if not response.has_redirect_location:
            return answer_of(response)
        return answer_of(response, self.send_to_storage(fetch_request(response)))

    def cancel(self, job: str | Job) -> Job:
        """The job as it then stands: canceled, or as it had ended before."""
        return parse_job(self.send(cancel_call(job)).content)
