"""A message as AMQP properties, headers and bytes, and back.

Attributes travel as headers of their own names. What else must travel is in headers that begin with
`x-laneway-`; the broker's own begin with `x-` too, so no attribute may.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from typing import TYPE_CHECKING, Any, Final

import pika

from shared.queues.messages import burial
from shared.queues.protocol import Delivery

if TYPE_CHECKING:
    from shared.queues.protocol import Message
    from shared.queues.rabbitmq.consumer import Held

TENANT: Final = "x-laneway-tenant"
SENT_AT_MS: Final = "x-laneway-sent-at-ms"
RECEIVES: Final = "x-laneway-receives"
"""Deliveries of a message before it was handed back for later, which made it a new one to the broker."""
_DELIVERIES: Final = "x-delivery-count"
"""Of quorum queues: deliveries before this one that were not acknowledged."""
_RESERVED: Final = "x-"
_PLAIN_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,62}")
"""What can follow the `m-` of a job's id."""
_DIGEST_LENGTH: Final = 40


def properties_of(message: Message, *, now: float, expires_s: float | None = None) -> Any:
    """The properties of a new message. `now`: epoch seconds; `expires_s`: in a retry queue."""
    own = {TENANT: message.tenant, SENT_AT_MS: round(now * 1000)}
    return pika.BasicProperties(
        message_id=str(uuid.uuid4()),
        content_type="application/json",
        delivery_mode=pika.DeliveryMode.Persistent.value,
        headers={**message.attributes, **own},
        timestamp=int(now),
        expiration=_expiration(expires_s),
    )


def properties_again(held: Held, *, expires_s: float) -> Any:
    """The properties of a message that is handed back for later: it is the same, and was counted."""
    return _copied(held, {RECEIVES: receive_count(held.properties)}, expires_s=expires_s)


def properties_buried(held: Held, reason: str) -> Any:
    """The properties of a message on its way to the dead-letter queue, with the reason."""
    _, attributes = burial("", _attributes(held.properties), reason)
    return _copied(held, attributes)


def receive_count(properties: Any) -> int:
    """How often a message was delivered, this time included."""
    headers = properties.headers or {}
    return 1 + _count(headers.get(RECEIVES)) + _count(headers.get(_DELIVERIES))


def delivery_of(held: Held) -> Delivery:
    """The delivery of a message; bytes that are no text are shown as such, and are no JSON then."""
    properties = held.properties
    headers = properties.headers or {}
    return Delivery(
        body=held.body.decode(errors="backslashreplace"),
        message_id=message_id(properties, held.body),
        receipt=held.receipt,
        receive_count=receive_count(properties),
        attributes=_attributes(properties),
        sent_at=_sent_at(properties),
        tenant=str(headers.get(TENANT, "")),
    )


def message_id(properties: Any, body: bytes) -> str:
    """The sender's `message_id`; without one, a digest of the body: either is stable over redelivery.

    An id that could be no part of a job's id is replaced by its digest.
    """
    given = properties.message_id
    if not given:
        return f"b-{_digest(body)}"
    return given if _PLAIN_ID.fullmatch(given) else f"i-{_digest(given.encode())}"


def _copied(held: Held, headers: dict[str, Any], *, expires_s: float | None = None) -> Any:
    """The sender's properties with further headers, without what the broker has added."""
    old = held.properties
    kept = {
        name: value
        for name, value in (old.headers or {}).items()
        if not name.startswith(_RESERVED) or name in (TENANT, SENT_AT_MS, RECEIVES)
    }
    return pika.BasicProperties(
        message_id=message_id(old, held.body),
        content_type=old.content_type,
        content_encoding=old.content_encoding,
        correlation_id=old.correlation_id,
        type=old.type,
        app_id=old.app_id,
        timestamp=old.timestamp,
        delivery_mode=pika.DeliveryMode.Persistent.value,
        headers={**kept, **headers},
        expiration=_expiration(expires_s),
    )


def _attributes(properties: Any) -> dict[str, str]:
    headers = properties.headers or {}
    return {
        name: value
        for name, value in headers.items()
        if isinstance(value, str) and not name.startswith(_RESERVED)
    }


def _sent_at(properties: Any) -> float | None:
    sent_at_ms = (properties.headers or {}).get(SENT_AT_MS)
    if isinstance(sent_at_ms, int):
        return sent_at_ms / 1000
    return None if properties.timestamp is None else float(properties.timestamp)


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _expiration(expires_s: float | None) -> str | None:
    return None if expires_s is None else str(max(0, round(expires_s * 1000)))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_DIGEST_LENGTH]
