"""A queue in memory with SQS's manners: visibility, redelivery, receive counts, redrive.

For tests and for users' own tests; safe to use from several threads. Time is the clock's, except
that `receive` waits for a message in real time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from threading import Condition
from typing import TYPE_CHECKING
from uuid import uuid4

from shared.queues.messages import burial, check_message
from shared.queues.protocol import Delivery, Message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(slots=True, kw_only=True)
class _Kept:
    body: str
    tenant: str
    attributes: Mapping[str, str]
    message_id: str
    sent_at: float
    visible_at: float
    receive_count: int = 0
    first_received_at: float | None = None
    receipt: str = ""


class MemoryQueue:
    """Implements `Queue`.

    `clock` gives epoch seconds. A message that was received `max_receives` times without being
    acknowledged moves to `dead_letters` when it would be received once more.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        visibility_s: float = 30.0,
        max_receives: int = 20,
        dead_letters: MemoryQueue | None = None,
    ) -> None:
        self._clock = clock
        self._visibility_s = visibility_s
        self._max_receives = max_receives
        self._dead_letters = dead_letters
        self._kept: dict[str, _Kept] = {}
        self._changed = Condition()

    def send(
        self,
        body: str,
        *,
        tenant: str,
        delay_s: int = 0,
        attributes: Mapping[str, str] | None = None,
    ) -> str:
        """Put a message on the queue."""
        message = Message(body=body, tenant=tenant, delay_s=delay_s, attributes=attributes or {})
        check_message(message.body, message.attributes)
        return self.put(message)

    def send_many(self, messages: Sequence[Message]) -> Sequence[str | None]:
        """Put many messages on the queue."""
        for message in messages:
            check_message(message.body, message.attributes)
        return [self.put(message) for message in messages]

    def put(self, message: Message) -> str:
        """Keep a message unchecked, as a broker keeps what another program sent."""
        now = self._clock()
        kept = _Kept(
            body=message.body,
            tenant=message.tenant,
            attributes=dict(message.attributes),
            message_id=str(uuid4()),
            sent_at=now,
            visible_at=now + message.delay_s,
        )
        return self._put(kept)

    def receive(self, *, limit: int, wait_s: float) -> Sequence[Delivery]:
        """Up to `limit` messages."""
        with self._changed:
            found = self._take(limit)
            if not found and wait_s > 0 and self._changed.wait(wait_s):
                found = self._take(limit)
            return found

    def acknowledge(self, delivery: Delivery) -> None:
        """Remove a message."""
        with self._changed:
            if self._held(delivery):
                del self._kept[delivery.message_id]

    def acknowledge_many(self, deliveries: Sequence[Delivery]) -> None:
        """Remove messages."""
        for delivery in deliveries:
            self.acknowledge(delivery)

    def hand_back(self, delivery: Delivery, *, delay_s: float = 0) -> None:
        """Make a message visible again."""
        self.extend(delivery, visibility_s=math.ceil(delay_s))

    def hand_back_many(self, deliveries: Sequence[Delivery], *, delays_s: Sequence[float]) -> None:
        """Make messages visible again."""
        for delivery, delay_s in zip(deliveries, delays_s, strict=True):
            self.hand_back(delivery, delay_s=delay_s)

    def extend(self, delivery: Delivery, *, visibility_s: int) -> None:
        """Keep a message invisible."""
        with self._changed:
            if kept := self._held(delivery):
                kept.visible_at = self._clock() + visibility_s
                self._changed.notify_all()

    def bury(self, delivery: Delivery, *, reason: str) -> None:
        """Move a message to the dead-letter queue."""
        if self._dead_letters is None:
            raise ValueError("this queue has no dead-letter queue")
        body, attributes = burial(delivery.body, delivery.attributes, reason)
        self._dead_letters.put(Message(body=body, tenant=delivery.tenant, attributes=attributes))
        self.acknowledge(delivery)

    def stop_receiving(self) -> None:
        """Nothing is given ahead."""

    def depth(self) -> int:
        """Messages visible, delayed and in flight."""
        with self._changed:
            return len(self._kept)

    def _put(self, kept: _Kept) -> str:
        with self._changed:
            self._kept[kept.message_id] = kept
            self._changed.notify_all()
        return kept.message_id

    def _take(self, limit: int) -> list[Delivery]:
        now = self._clock()
        taken: list[Delivery] = []
        for kept in list(self._kept.values()):
            if len(taken) == limit:
                break
            if kept.visible_at > now:
                continue
            if self._dead_letters is not None and kept.receive_count >= self._max_receives:
                self._redrive(kept, self._dead_letters)
            else:
                taken.append(self._deliver(kept, now))
        return taken

    def _redrive(self, kept: _Kept, dead_letters: MemoryQueue) -> None:
        del self._kept[kept.message_id]
        kept.receipt, kept.visible_at = "", self._clock()
        dead_letters._put(kept)

    def _deliver(self, kept: _Kept, now: float) -> Delivery:
        kept.receive_count += 1
        kept.receipt = str(uuid4())
        if kept.first_received_at is None:
            kept.first_received_at = now
        kept.visible_at = now + self._visibility_s
        return Delivery(
            body=kept.body,
            message_id=kept.message_id,
            receipt=kept.receipt,
            receive_count=kept.receive_count,
            attributes=kept.attributes,
            sent_at=kept.sent_at,
            first_received_at=kept.first_received_at,
            tenant=kept.tenant,
        )

    def _held(self, delivery: Delivery) -> _Kept | None:
        """The message, where this delivery of it is the last one."""
        kept = self._kept.get(delivery.message_id)
        return kept if kept is not None and kept.receipt == delivery.receipt else None
