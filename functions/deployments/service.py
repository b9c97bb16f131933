"""A custom resource of CloudFormation: what it is told of served versions becomes audit records.

CloudFormation calls it when the list of versions and digests in the template has changed, with the list
before and the one after, and waits: a deployment whose record cannot be written fails. It knows no
person's name, so the principal is the stack; who started the deployment is in CloudTrail.
"""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.request import Request, urlopen

from shared.audit import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from shared.audit import Act

SERVED: Final = "Served"
"""Property of the resource: lines of a model's name, a version and its digest, with spaces between."""
RESOURCE_ID: Final = "laneway-served-models"
ANSWER_TIMEOUT_S: Final = 10
_LOGGER: Final = logging.getLogger(__name__)


class Change(NamedTuple):
    """One version that is served from now on, or no longer."""

    act: Act
    model: str
    version: str
    digest: str


def handle(event: Mapping[str, Any], answer: Callable[[str, bytes], None]) -> None:
    """Record what has changed, and tell CloudFormation so; `answer` sends a body to a URL."""
    status, reason = "SUCCESS", ""
    try:
        _record(event)
    except Exception as error:
        _LOGGER.exception("a deployment was not recorded")
        status, reason = "FAILED", f"the audit could not be written: {type(error).__name__}"
    body = {
        "Status": status,
        "Reason": reason,
        "PhysicalResourceId": event.get("PhysicalResourceId", RESOURCE_ID),
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
    }
    answer(event["ResponseURL"], json.dumps(body).encode())


def changes(before: Sequence[str], after: Sequence[str]) -> Iterator[Change]:
    """What is served under another digest than before, or not at all any more."""
    for line in sorted(set(after) - set(before)):
        yield Change("deploy", *line.split(" "))
    kept = {_name(line) for line in after}
    for line in sorted(set(before) - set(after)):
        if _name(line) not in kept:
            yield Change("undeploy", *line.split(" "))


def put_answer(url: str, body: bytes) -> None:
    """Send CloudFormation its answer, to the address that came with the question."""
    # The URL is CloudFormation's own, presigned for S3; its signature has no content type.
    request = Request(url, data=body, method="PUT", headers={"content-type": ""})  # noqa: S310  see above
    with urlopen(request, timeout=ANSWER_TIMEOUT_S) as answered:  # noqa: S310  see above
        if answered.status >= HTTPStatus.MULTIPLE_CHOICES:
            raise OSError(f"CloudFormation did not take the answer: {answered.status}")


def _record(event: Mapping[str, Any]) -> None:
    after = _served(event["ResourceProperties"]) if event["RequestType"] != "Delete" else []
    before = (
        _served(event["ResourceProperties"])
        if event["RequestType"] == "Delete"
        else _served(event.get("OldResourceProperties", {}))
    )
    for change in changes(before, after):
        record(
            change.act,
            principal=f"cloudformation:{_stack(event['StackId'])}",
            tenant="",
            request_id=event["RequestId"],
            model=change.model,
            version=change.version,
            digest=change.digest,
        )


def _served(properties: Mapping[str, Any]) -> list[str]:
    return list(properties.get(SERVED, []))


def _name(line: str) -> str:
    """Model and version."""
    return line.rpartition(" ")[0]


def _stack(stack_id: str) -> str:
    """The name in `arn:...:stack/<name>/<uuid>`."""
    return stack_id.split("/")[1]
