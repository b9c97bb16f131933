"""Batches that begin by themselves: by an upload under a prefix, and by a schedule.

Both come to the splitter's queue: from S3 as its event, from EventBridge Scheduler as a message that
the stage's stacks wrote. Nobody else may send there, so the tenant of such a message is believed.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote_plus

from pydantic import ValidationError

from shared.jobs.batches.messages import UnreadableError
from shared.jobs.submission import job_refusal
from shared.schema.batch import BatchSubmission

if TYPE_CHECKING:
    from collections.abc import Iterator

RECURRING: Final = "recurring"
_AUTO: Final = re.compile(
    r"uploads/(?P<tenant>[^/]{1,128})/auto/(?P<model>[a-z0-9][a-z0-9-]*)/"
    r"(?:(?P<version>v-[A-Za-z0-9._-]+)/)?(?P<name>[^/]+)"
)
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DIGEST_LENGTH: Final = 40


class Started(NamedTuple):
    """A batch to be submitted; the id is the same each time that the message comes."""

    tenant: str
    batch_id: str
    asked: dict[str, Any]
    """The members of a submission, as they came."""

    def submission(self) -> BatchSubmission:
        """The submission; raises `InvalidRequestError`."""
        try:
            return BatchSubmission.model_validate(self.asked)
        except ValidationError as error:
            raise job_refusal(error) from error


def uploads_in(event: dict[str, Any]) -> Iterator[Started]:
    """The batches that an event of S3 begins: one for each object in `uploads/{tenant}/auto/{model}/`.

    A folder `v-{version}` below it names the version. Other objects begin nothing.
    """
    for record in event["Records"]:
        stored = record["s3"]
        key = unquote_plus(stored["object"]["key"])
        match = _AUTO.fullmatch(key)
        if match is None or not record.get("eventName", "").startswith("ObjectCreated"):
            continue
        version = match["version"]
        versioned = f"/versions/{version.removeprefix('v-')}" if version else ""
        place = f"s3://{stored['bucket']['name']}/{key}"
        written = f"{place}\0{stored['object'].get('eTag')}\0{stored['object'].get('sequencer')}"
        yield Started(
            tenant=match["tenant"],
            batch_id=f"u-{hashlib.sha256(written.encode()).hexdigest()[:_DIGEST_LENGTH]}",
            asked={
                "endpoint": f"/v2/models/{match['model']}{versioned}/infer",
                "input": place,
            },
        )


def read_recurring(message: dict[str, Any]) -> Started:
    """The batch that a schedule asks for; raises `UnreadableError`."""
    asked = message[RECURRING]
    if not isinstance(asked, dict) or not isinstance(asked.get("tenant"), str):
        raise UnreadableError("recurring should name a tenant and a submission")
    batch_id = re.sub(r"[^A-Za-z0-9_-]", "-", str(asked.get("id", "")))[-64:]
    if not _ID.fullmatch(batch_id):
        raise UnreadableError("recurring.id should be the schedule's execution id")
    if not isinstance(asked.get("submission"), dict):
        raise UnreadableError("recurring.submission should be a submission")
    return Started(asked["tenant"], batch_id, asked["submission"])
