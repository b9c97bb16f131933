"""What a caller may ask of the calls about jobs: ids, keys, filters; each read or refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, get_args

from pydantic import ValidationError

from shared.errors import InvalidRequestError
from shared.jobs.submission import job_refusal
from shared.limits import CONTROL_BODY_BYTES_MAX
from shared.schema.status import JobStatus
from shared.schema.upload import UploadRequest
from shared.schema.wire import open_body, parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from functions.api_gateway import HttpRequest
    from shared.limiting.gate import Gate

IDEMPOTENCY_KEY: Final = "idempotency-key"
PAGE_LIMIT: Final = 50
PAGE_LIMIT_MAX: Final = 100
ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_KEY_LENGTH_MAX: Final = 255
_QUERY: Final = ("cursor", "limit", "model", "status")
_STATUSES: Final = get_args(JobStatus)
_LIMITS: Final = frozenset(str(number) for number in range(1, PAGE_LIMIT_MAX + 1))


def chosen_id(job: str) -> str:
    """The id that a caller chose for a job."""
    if not ID.fullmatch(job):
        raise InvalidRequestError(
            "a job's id is 1 to 64 letters, digits, dashes or underscores", field="id"
        )
    return job


def idempotency_key(request: HttpRequest) -> str | None:
    """The Idempotency-Key, where there is one."""
    key = request.headers.get(IDEMPOTENCY_KEY)
    if key is not None and not 0 < len(key) <= _KEY_LENGTH_MAX:
        raise InvalidRequestError(
            f"an Idempotency-Key has 1 to {_KEY_LENGTH_MAX} characters", field="Idempotency-Key"
        )
    return key


def known_query(query: Mapping[str, str]) -> Mapping[str, str]:
    """The filters of a list; a misspelt one would pass for none."""
    for name in query:
        if name not in _QUERY:
            raise InvalidRequestError(
                f"{name[:64]!r} is no filter of jobs; there are {', '.join(_QUERY)}",
                field=name[:64],
            )
    return query


def limit(text: str | None) -> int:
    """How many jobs a page may hold."""
    if text is None:
        return PAGE_LIMIT
    if text not in _LIMITS:
        raise InvalidRequestError(f"limit should be 1 to {PAGE_LIMIT_MAX}", field="limit")
    return int(text)


def status(text: str | None) -> str | None:
    """The status to look for."""
    if text is not None and text not in _STATUSES:
        raise InvalidRequestError(f"status should be one of {', '.join(_STATUSES)}", field="status")
    return text


def control_body(request: HttpRequest) -> bytes | memoryview:
    """The body of a call that carries no tensors, without its Content-Encoding.

    Raises `TooLargeError` past `CONTROL_BODY_BYTES_MAX`, `MalformedBodyError` or `MediaTypeError`.
    """
    return open_body(
        request.body,
        content_encoding=request.headers.get("content-encoding"),
        max_decoded_bytes=CONTROL_BODY_BYTES_MAX,
    ).json


def jobs_max(request: HttpRequest, gate: Gate | None) -> int | None:
    """How many unfinished jobs and batches the caller's tenant may have; None: any number."""
    if gate is None:
        return None
    return gate.limits(request.tenant, request.principal.limits).concurrent_jobs


def max_bytes(request: HttpRequest) -> int:
    """How large an upload may be: as the body asks, else what an input may have."""
    body = bytes(control_body(request))
    try:
        return UploadRequest.model_validate(parse_json(body) if body.strip() else {}).max_bytes
    except ValidationError as error:
        raise job_refusal(error) from error
