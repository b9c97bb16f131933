"""Answers for jobs that were accepted: how they stand, what they answered, that they are not wanted.

A job of another tenant is met exactly as one that does not exist: both have no row under the key.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shared.errors import (
    GoneError,
    JobNotFoundError,
    NotFinishedError,
    NotFoundError,
    UnavailableError,
)
from shared.limits import BINARY_BODY_BYTES_MAX, PRESIGNED_S_MAX
from shared.results.payloads import load
from shared.schema.status import TERMINAL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.jobs.clock import Clock
    from shared.results.payloads import PayloadStore
    from shared.results.rows import JobKey, JobRow
    from shared.results.store import JobStore, Page

RESULT_DIRECT_BYTES_MAX: Final = 1024 * 1024
"""A larger result is fetched by its caller from S3, not carried through a function."""
PRESIGNED_S: Final = PRESIGNED_S_MAX
"""How long a presigned URL can be used."""
_PAUSE_FIRST_S: Final = 0.05
_PAUSE_MAX_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A job's result: what the realtime call would have answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A job's result, too large to be carried: where its body can be fetched for some minutes."""

    url: str
    headers: Mapping[str, str]


class AcceptedJobs:
    """The jobs of a stage after they were accepted."""

    def __init__(
        self,
        *,
        store: JobStore,
        payloads: PayloadStore,
        clock: Clock,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._payloads = payloads
        self._clock = clock
        self._sleep = sleep

    def get(self, key: JobKey) -> JobRow:
        """The job; raises `JobNotFoundError` alike for no job and for another tenant's."""
        row = self._store.get(key)
        if row is None:
            raise _not_found(key)
        return row

    def list(
        self,
        tenant: str,
        *,
        cursor: str | None,
        limit: int,
        status: str | None,
        model: str | None,
    ) -> Page:
        """Jobs of a tenant, newest first."""
        return self._store.list(tenant, cursor=cursor, limit=limit, status=status, model=model)

    def cancel(self, key: JobKey) -> JobRow:
        """The job as it then stands: canceled, or as it had ended before."""
        row = self._store.cancel(key, now=self._clock())
        if row is None:
            raise _not_found(key)
        return row

    def wait(self, row: JobRow, *, wait_s: float) -> JobRow:
        """The job once it has ended, or as it was last seen after `wait_s` seconds.

        A store that does not answer ends no wait: the job is accepted, and 503 would deny it.
        """
        until = self._clock() + wait_s
        pause_s = _PAUSE_FIRST_S
        while row.status not in TERMINAL and (left_s := until - self._clock()) > 0:
            self._sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 1.5, _PAUSE_MAX_S)
            with suppress(UnavailableError):
                row = self.get(row.key)
        return row

    def result(self, row: JobRow) -> Answer | Elsewhere:
        """What a succeeded job answered.

        Raises `NotFinishedError`, or `GoneError` for a job without a result; a failed job has a
        `failure` and is not asked here.
        """
        if row.status not in TERMINAL:
            raise NotFinishedError(
                f"job {row.key.id!r} is {row.status}; ask again, or GET /v2/jobs/{row.key.id}"
            )
        result = row.result
        if result is None:
            raise GoneError(f"job {row.key.id!r} was {row.status} and has no result")
        payload = result.payload
        if payload.s3_key is not None and payload.size_bytes > RESULT_DIRECT_BYTES_MAX:
            url = self._payloads.presign_get(payload.s3_key, expires_s=PRESIGNED_S)
            return Elsewhere(url, result.headers)
        try:
            body = load(self._payloads, payload, max_bytes=BINARY_BODY_BYTES_MAX)
        except NotFoundError as error:
            raise GoneError(f"the result of job {row.key.id!r} was removed") from error
        return Answer(result.status_code, result.headers, body)


def _not_found(key: JobKey) -> JobNotFoundError:
    return JobNotFoundError(f"you have no job {key.id!r}")
