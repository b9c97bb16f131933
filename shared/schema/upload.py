"""A place for an input that is too large for a body, as it is asked for and given."""

from __future__ import annotations

from pydantic import Field

from shared.limits import DECODED_BODY_BYTES_MAX, S3_POST_BYTES_MAX
from shared.schema.job import JobModel


class UploadRequest(JobModel):
    """Body of `POST /v2/uploads`; an empty body is the same as `{}`."""

    max_bytes: int = Field(default=DECODED_BODY_BYTES_MAX, ge=1, le=S3_POST_BYTES_MAX, strict=True)
    """How large the upload may be; the input of one job has at most the default."""


class Upload(JobModel):
    """Where to upload to: POST `fields` as a multipart form to `url`, with `file` as the last field."""

    uri: str
    """What to name as `input_uri` afterwards."""
    url: str
    fields: dict[str, str]
    max_bytes: int
    expires_at: str
