"""What is submitted, however it came: as a job's JSON, as the body of an inference call, from a queue.

Reads and compares; what a model makes of it is asked in `shared.jobs.submit`.
"""

from __future__ import annotations

import binascii
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson
from pydantic import ValidationError

from shared.errors import InvalidRequestError, MalformedBodyError, TooLargeError
from shared.limits import DECODED_BODY_BYTES_MAX
from shared.schema.job import JobSubmission
from shared.schema.refusals import describe, field_path, refusal
from shared.schema.wire import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

    from shared.schema.job import JobOptions, Priority

ASYNC: Final = "async"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One request to be run later: its input is `body` or lies at `uri`."""

    model: str
    version: str | None = None
    latency_class: str = ASYNC
    priority: Priority = "normal"
    body: bytes | None = field(default=None, repr=False)
    """As a realtime call would carry it, without Content-Encoding."""
    header_length: int | None = None
    uri: str | None = None
    ttl_s: int | None = None
    timeout_s: int | None = None
    webhook: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    result_alias: str | None = None

    @property
    def digest(self) -> str:
        """SHA-256, hex, over everything that makes two submissions the same."""
        said = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "body"}
        said["metadata"] = dict(self.metadata)
        said["body"] = None if self.body is None else hashlib.sha256(self.body).hexdigest()
        return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()


def read_submission(body: bytes) -> Submission:
    """The job in the body of `POST /v2/jobs`; raises a `CallerError` naming the field."""
    parsed = parse_json(body)
    try:
        options = JobSubmission.model_validate(parsed)
    except ValidationError as error:
        raise job_refusal(error) from error
    return submission_of(options, latency_class=options.latency_class, priority=options.priority)


def submission_of(
    options: JobOptions, *, latency_class: str, priority: Priority = "normal"
) -> Submission:
    """The submission that validated options stand for."""
    return Submission(
        model=options.model,
        version=options.version,
        latency_class=latency_class,
        priority=priority,
        body=_body(options),
        header_length=options.header_length,
        uri=options.input_uri,
        ttl_s=options.ttl_s,
        timeout_s=options.timeout_s,
        webhook=options.webhook,
        metadata=options.metadata,
        result_alias=options.result_alias,
    )


def _body(options: JobOptions) -> bytes | None:
    if options.input is not None:
        return _to_json(options.input)
    if options.input_base64 is None:
        return None
    try:
        body = binascii.a2b_base64(options.input_base64.encode("ascii"), strict_mode=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise MalformedBodyError("input_base64 is not base64", field="input_base64") from error
    if len(body) > DECODED_BODY_BYTES_MAX:
        raise TooLargeError(
            f"input_base64 has {len(body)} bytes, at most {DECODED_BODY_BYTES_MAX} are read",
            field="input_base64",
        )
    return body


def _to_json(value: dict[str, Any]) -> bytes:
    """One text for equal requests; NaN and infinities stay, a model may allow them.

    orjson writes those as null and gives up on deep nesting, where the slower encoder goes on.
    """
    try:
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        if b"null" not in text:
            return text
    except orjson.JSONEncodeError:
        pass
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")
    except RecursionError as error:
        raise MalformedBodyError("input is nested too deep", field="input") from error


def job_refusal(error: ValidationError) -> InvalidRequestError:
    """Why the first wrong member of a job is refused."""
    first = error.errors(include_url=False)[0]
    message = _message(first)
    if message is None:
        return refusal(error)
    return InvalidRequestError(message, field=field_path(first["loc"]))


def _message(first: ErrorDetails) -> str | None:
    """In words of a job's own, where the refusals of inference requests have none."""
    name = field_path(first["loc"])
    context = first.get("ctx", {})
    if first["type"] == "value_error":
        return str(context["error"])
    if first["type"] == "extra_forbidden":
        return f"{name} is not a member of a job"
    if first["type"] == "string_pattern_mismatch":
        return f"{name} should match {context['pattern']}; received {describe(first['input'])}"
    return None
