"""The `Queue` protocol on one queue of RabbitMQ.

What never waits: `receive` with `wait_s=0`, `acknowledge`, `acknowledge_many`, `extend`, `hand_back` at once. What waits
for the broker's confirm: `send`, `send_many`, `hand_back` and `hand_back_many` for later, `bury`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from shared.errors import QueueUnavailableError
from shared.queues.messages import check_message
from shared.queues.protocol import Delivery, Message
from shared.queues.rabbitmq.envelope import (
    delivery_of,
    properties_again,
    properties_buried,
    properties_of,
)
from shared.queues.rabbitmq.publisher import Outgoing
from shared.queues.rabbitmq.topology import RETRY_S, Declaration, dead_name, declare, retry_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shared.queues.rabbitmq.connection import Connection
    from shared.queues.rabbitmq.consumer import Consumer, Held
    from shared.queues.rabbitmq.publisher import Ending, Publisher

DEPTH_TIMEOUT_S: Final = 10.0
_REASONS: Final[Mapping[Ending, str]] = {
    "unroutable": "there is no queue of this name",
    "refused": "the queue refused the message",
    "blocked": "RabbitMQ takes no messages now: it is out of memory or disk",
    "lost": "RabbitMQ did not confirm the message",
}


class Sent(NamedTuple):
    """What became of one message; `message_id` where it was confirmed."""

    message_id: str | None
    ending: Ending


class RabbitQueue:
    """Implements `Queue`; made by `RabbitBroker`."""

    def __init__(
        self,
        name: str,
        *,
        connection: Connection,
        publisher: Publisher,
        consumer: Consumer,
        clock: Callable[[], float],
        has_dead_letters: bool,
    ) -> None:
        """`connection`: to be asked; a dead-letter queue has no dead-letter queue of its own."""
        self.name = name
        self._connection = connection
        self._publisher = publisher
        self._consumer = consumer
        self._clock = clock
        self._has_dead_letters = has_dead_letters

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
        outgoing = self._outgoing(message)
        self._publish(outgoing)
        return _id(outgoing)

    def send_many(self, messages: Sequence[Message]) -> Sequence[str | None]:
        """Put many messages on the queue, all under way at once."""
        return [sent.message_id for sent in self.send_each(messages)]

    def send_each(self, messages: Sequence[Message]) -> list[Sent]:
        """As `send_many`; says of each message that was not confirmed how it fared."""
        for message in messages:
            check_message(message.body, message.attributes)
        outgoing = [self._outgoing(message) for message in messages]
        endings = self._publisher.publish(outgoing)
        return [
            Sent(_id(item) if ending == "confirmed" else None, ending)
            for item, ending in zip(outgoing, endings, strict=True)
        ]

    def receive(self, *, limit: int, wait_s: float) -> Sequence[Delivery]:
        """Up to `limit` messages of those that the broker has given ahead."""
        taken = self._consumer.take(limit, wait_s)
        if not taken and (trouble := self._consumer.trouble):
            raise QueueUnavailableError(f"{trouble}; try again later")
        return [delivery_of(held) for held in taken]

    def holds(self, delivery: Delivery) -> bool:
        """Whether a delivery is still this process's: not settled, not lapsed, not lost."""
        return self._consumer.held(delivery.receipt) is not None

    def acknowledge(self, delivery: Delivery) -> None:
        """Remove a message."""
        self._consumer.acknowledge([delivery.receipt])

    def acknowledge_many(self, deliveries: Sequence[Delivery]) -> None:
        """Remove messages, told the broker together."""
        self._consumer.acknowledge([delivery.receipt for delivery in deliveries])

    def hand_back(self, delivery: Delivery, *, delay_s: float = 0) -> None:
        """Make a message visible again; for later, it waits in a retry queue, an hour at most.

        A crash in between leaves it on both.
        """
        if delay_s <= 0 or not self._has_dead_letters:
            self._consumer.give_back(delivery.receipt)
        elif held := self._consumer.held(delivery.receipt):
            self._publish(self._again(held, delay_s))
            self._consumer.acknowledge([delivery.receipt])

    def hand_back_many(self, deliveries: Sequence[Delivery], *, delays_s: Sequence[float]) -> None:
        """Make messages visible again; those for later are published, and acknowledged, together."""
        later: list[tuple[str, Outgoing]] = []
        for delivery, delay_s in zip(deliveries, delays_s, strict=True):
            if delay_s <= 0 or not self._has_dead_letters:
                self._consumer.give_back(delivery.receipt)
            elif held := self._consumer.held(delivery.receipt):
                later.append((delivery.receipt, self._again(held, delay_s)))
        endings = self._publisher.publish([outgoing for _, outgoing in later])
        self._consumer.acknowledge(
            [
                receipt
                for (receipt, _), ending in zip(later, endings, strict=True)
                if ending == "confirmed"
            ]
        )

    def extend(self, delivery: Delivery, *, visibility_s: int) -> None:
        """Keep a message from being given back by this process."""
        self._consumer.extend(delivery.receipt, visibility_s)

    def bury(self, delivery: Delivery, *, reason: str) -> None:
        """Move a message to the dead-letter queue, its bytes as they came.

        A crash in between leaves it on both.
        """
        if not self._has_dead_letters:
            raise ValueError("this queue has no dead-letter queue")
        if held := self._consumer.held(delivery.receipt):
            properties = properties_buried(held, reason)
            queue = dead_name(self.name)
            self._publish(Outgoing(queue=queue, body=held.body, properties=properties))
            self._consumer.acknowledge([delivery.receipt])

    def stop_receiving(self) -> None:
        """Stop consuming: what the broker has given ahead is others' at once, and `receive` gives none."""
        self._consumer.stop()

    def depth(self) -> int:
        """Messages visible and delayed, and those in flight in this process; approximate."""
        names = [self.name]
        if self._has_dead_letters:
            names += [retry_name(self.name, longest) for longest in RETRY_S]
        wanted = [Declaration(name) for name in names]
        waiting = sum(declare(self._connection, wanted, timeout_s=DEPTH_TIMEOUT_S))
        return waiting + self._consumer.in_flight()

    def _outgoing(self, message: Message) -> Outgoing:
        delay_s = min(message.delay_s, RETRY_S[-1])
        properties = properties_of(message, now=self._clock(), expires_s=delay_s or None)
        queue = retry_name(self.name, delay_s) if delay_s else self.name
        return Outgoing(queue=queue, body=message.body.encode(), properties=properties)

    def _again(self, held: Held, delay_s: float) -> Outgoing:
        delay = min(delay_s, RETRY_S[-1])
        properties = properties_again(held, expires_s=delay)
        return Outgoing(queue=retry_name(self.name, delay), body=held.body, properties=properties)

    def _publish(self, outgoing: Outgoing) -> None:
        [ending] = self._publisher.publish([outgoing])
        if ending == "lost" and self._connection.trouble:
            raise QueueUnavailableError(f"{self._connection.trouble}; try again later")
        if ending != "confirmed":
            raise QueueUnavailableError(f"queue {outgoing.queue!r}: {_REASONS[ending]}")


def _id(outgoing: Outgoing) -> str:
    return str(outgoing.properties.message_id)
