"""Hands a request that prefers an asynchronous answer to ingress, and gives back what that answers.

Imported by the first such request and by nothing else: boto3 costs a cold start more than onnxruntime.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

import boto3
import orjson
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from functions.api_gateway import REMAINING
from shared.errors import MalformedBodyError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

MARGIN_MS: Final = 500
# Tried once: a job whose answer was lost would be made again. Ingress itself ends after 29 s.
_TIMEOUTS: Final = Config(connect_timeout=1, read_timeout=30, retries={"total_max_attempts": 1})


def hand_over(
    event: Mapping[str, Any], *, function: str, remaining_ms: int, client: Any = None
) -> dict[str, Any]:
    """The answer of ingress to the event. Raises `UnavailableError` or `MalformedBodyError`."""
    payload = _payload({**event, REMAINING: max(0, remaining_ms - MARGIN_MS)})
    try:
        answer = (client or _client()).invoke(
            FunctionName=function, InvocationType="RequestResponse", Payload=payload
        )
    except (ClientError, BotoCoreError) as error:
        raise UnavailableError(
            "the request could not be handed on to become a job; send it again, with an "
            "Idempotency-Key so that it becomes one job only"
        ) from error
    if answer.get("FunctionError"):
        raise UnavailableError("the function that accepts jobs failed; send the request again")
    return dict(orjson.loads(answer["Payload"].read()))


def _payload(event: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(event)
    except TypeError as error:
        raise MalformedBodyError("the body is not UTF-8", field="body") from error


@cache
def _client() -> Any:
    return boto3.client("lambda", config=_TIMEOUTS)
