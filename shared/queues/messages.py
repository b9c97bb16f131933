"""What a message may be, whichever queue carries it: its characters, its size, a burial's reason."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from shared.errors import TooLargeError
from shared.limits import SQS_MESSAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from shared.queues.protocol import Message

REASON_ATTRIBUTE: Final = "reason"
"""Of a buried message: why it can never be worked on."""
REASON_LENGTH_MAX: Final = 256
SQS_ATTRIBUTES_MAX: Final = 10
"""Attributes of one message (Amazon SQS, message metadata, read 2026-11-21); none may be empty."""
_SENDABLE: Final = re.compile(r"[\t\n\r\x20-\x7e]+")
_TYPE_BYTES: Final = len("String")
"""An attribute counts with its name, its type and its value."""


def check_message(body: str, attributes: Mapping[str, str]) -> None:
    """Refuse what a broker would refuse, before it is asked.

    Raises `ValueError` for a body that is not printable ASCII, `TooLargeError` past the limit.
    """
    if not _SENDABLE.fullmatch(body):
        raise ValueError("a message is printable ASCII; let the JSON encoder escape the rest")
    size = message_bytes(body, attributes)
    if size > SQS_MESSAGE_BYTES:
        raise TooLargeError(
            f"the message has {size} bytes with its attributes, a queue takes {SQS_MESSAGE_BYTES}; "
            "put the input on S3 and send input_uri"
        )


def message_bytes(body: str, attributes: Mapping[str, str]) -> int:
    """What SQS counts as the size of a message."""
    named = sum(
        len(name.encode()) + _TYPE_BYTES + len(value.encode()) for name, value in attributes.items()
    )
    return len(body.encode()) + named


def batched(messages: Sequence[Message], *, count: int, size_bytes: int) -> Iterator[list[Message]]:
    """As many messages to a call as it takes: `count` of them, and `size_bytes` together."""
    batch: list[Message] = []
    size = 0
    for message in messages:
        more = message_bytes(message.body, message.attributes)
        if batch and (len(batch) == count or size + more > size_bytes):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += more
    if batch:
        yield batch


def burial(body: str, attributes: Mapping[str, str], reason: str) -> tuple[str, dict[str, str]]:
    """Body and attributes of a message on its way to the dead-letter queue.

    The body stays as it came, also where it could not have been sent by us. Only a message that is
    so near a limit that the reason has no room loses the end of its body, or a tenth attribute.
    """
    named = {
        name: value for name, value in attributes.items() if value and name != REASON_ATTRIBUTE
    }
    kept = dict(list(named.items())[: SQS_ATTRIBUTES_MAX - 1])
    kept[REASON_ATTRIBUTE] = _printable(reason)
    excess = message_bytes(body, kept) - SQS_MESSAGE_BYTES
    if excess > 0:
        body = body.encode()[:-excess].decode(errors="ignore")
    return body, kept


def _printable(reason: str) -> str:
    text = re.sub(r"[^\x20-\x7e]", "?", reason)[:REASON_LENGTH_MAX]
    return text or "unknown"
