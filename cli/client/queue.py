"""Jobs dropped on a queue with plain boto3: no endpoint, no key, only the right to send.

The message is the public one of `shared.schema.job`. It names no tenant and no class: both are the
queue's. Nobody checks it against the model here; what does not fit becomes a failed job.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack
from uuid import uuid4

import boto3
from pydantic import ValidationError

from cli.client.base import needs_signature, tensors_of
from cli.client.errors import InputError
from cli.client.jobs import JobInput, StoredInput
from cli.client.protocol import infer_call
from shared.limits import SQS_MESSAGE_BYTES
from shared.schema.job import SCHEMA_VERSION, SubmissionMessage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

_SCHEME: Final = "s3://"


class QueueOptions(TypedDict, total=False):
    """What may be said of a dropped job; what is left out is the stage's default."""

    version: str | None
    id: str | None
    """Your own id: a message that is sent twice then makes one job."""
    ttl_s: int | None
    timeout_s: int | None
    webhook: str | None
    metadata: Mapping[str, str] | None
    result_alias: str | None


def submit_to_queue(
    queue_url: str,
    model: str,
    inputs: Mapping[str, Any] | StoredInput,
    *,
    outputs: Sequence[str] | None = None,
    binary: bool = True,
    place: str | None = None,
    tenant: str = "default",
    sqs: SQSClient | None = None,
    s3: S3Client | None = None,
    **options: Unpack[QueueOptions],
) -> str:
    """Put a job on a queue; gives its id, by which the queue's tenant finds it.

    `inputs`: name -> array or `Tensor`; plain lists carry no datatype, and nobody is asked here. One
    that a message cannot hold is written under `place`, an `s3://bucket/prefix/` that the tenant may
    name. `tenant`: the queue's; SQS keeps what others send waiting for no flood of it, and whose the
    job is follows from the queue alone. Raises `InputError` before anything is sent, and botocore's errors from AWS itself.
    """
    job_id = options.get("id") or uuid4().hex
    known = {name: value for name, value in options.items() if value is not None} | {"id": job_id}
    source = inputs if isinstance(inputs, StoredInput) else _encoded(inputs, outputs, binary=binary)
    message = _message(model, source, known)
    if len(message) > SQS_MESSAGE_BYTES and isinstance(source, JobInput):
        stored = _stored(source, _uri(place, job_id, len(message)), s3 or boto3.client("s3"))
        message = _message(model, stored, known)
    (sqs or boto3.client("sqs")).send_message(
        QueueUrl=queue_url, MessageBody=message, MessageGroupId=tenant
    )
    return job_id


def _encoded(inputs: Mapping[str, Any], outputs: Sequence[str] | None, *, binary: bool) -> JobInput:
    if needs_signature(inputs):
        raise InputError(
            "a list carries no datatype and a queue cannot be asked for the model's: pass arrays, "
            "or Tensor.of(datatype, values)"
        )
    return JobInput.of(infer_call("", tensors_of(inputs, None), outputs=outputs, binary=binary))


def _message(model: str, source: JobInput | StoredInput, known: Mapping[str, Any]) -> str:
    """The message as ASCII, checked against the published schema."""
    members = {"schema_version": SCHEMA_VERSION, "model": model, **known, **source.members()}
    try:
        SubmissionMessage.model_validate(members)
        return json.dumps(members, allow_nan=False, separators=(",", ":"))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the message"
        raise InputError(f"{where}: {first['msg']}") from error
    except ValueError as error:
        raise InputError("NaN and infinities travel in binary only") from error


def _uri(place: str | None, job_id: str, size_bytes: int) -> str:
    if place is None:
        raise InputError(
            f"the message has {size_bytes} bytes, a queue takes {SQS_MESSAGE_BYTES}: pass "
            "place='s3://bucket/prefix/' for the input"
        )
    bucket = place.removeprefix(_SCHEME).partition("/")[0]
    if not place.startswith(_SCHEME) or not bucket:
        raise InputError(f"place should be s3://bucket/prefix/, not {place!r}")
    return f"{place.rstrip('/')}/{job_id}"


def _stored(source: JobInput, uri: str, s3: S3Client) -> StoredInput:
    bucket, _, key = uri.removeprefix(_SCHEME).partition("/")
    s3.put_object(Bucket=bucket, Key=key, Body=source.body)
    return StoredInput(uri, source.header_length)
