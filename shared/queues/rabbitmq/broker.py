"""One broker as a process uses it: a connection that consumes, one that publishes, and its queues.

Two connections, because RabbitMQ stops reading from one that publishes when it runs out of memory or
disk: acknowledgements must go on, or its memory never frees.
"""

from __future__ import annotations

import time
from dataclasses import replace
from threading import Condition
from typing import TYPE_CHECKING, Self

from shared.queues.rabbitmq.connection import Connection
from shared.queues.rabbitmq.consumer import Consumer
from shared.queues.rabbitmq.envelope import receive_count
from shared.queues.rabbitmq.publisher import Publisher
from shared.queues.rabbitmq.queue import RabbitQueue
from shared.queues.rabbitmq.topology import count_messages, dead_name, declare_topology

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from shared.queues.rabbitmq.settings import AmqpSettings
    from shared.queues.rabbitmq.topology import Counts


class RabbitBroker:
    """The queues of one broker. Nothing is connected before it is needed; leaving the `with` closes."""

    def __init__(
        self, settings: AmqpSettings, *, renew: Callable[[], AmqpSettings] | None = None
    ) -> None:
        """`renew`: reads the settings again, where the broker refuses the credentials of these."""

        def connection(does: str) -> Connection:
            def named(given: AmqpSettings) -> AmqpSettings:
                return replace(given, name=f"{settings.name} {does}")

            again = None if renew is None else lambda: named(renew())
            return Connection(named(settings), renew=again)

        self._consuming = connection("consumes")
        self._publishing = connection("publishes")
        self._publisher = Publisher(self._publishing, confirm_timeout_s=settings.confirm_timeout_s)
        self._arrivals = Condition()
        self._queues: dict[str, RabbitQueue] = {}
        self._consumers: list[Consumer] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def queue(
        self,
        name: str,
        *,
        prefetch: int = 10,
        visibility_s: float = 60.0,
        max_receives: int = 20,
        clock: Callable[[], float] = time.time,
    ) -> RabbitQueue:
        """A queue with its dead-letter and retry queues, as `declare` makes them.

        Asked for again it is the same one, as it was made first.
        `prefetch`: messages that this process may have at once, received or not; give it what one or
        two runs take. `max_receives`: as it was declared. `clock`: epoch seconds.
        """
        if prefetch < 1:
            raise ValueError(f"prefetch is {prefetch}: without a bound one worker would take all")
        return self._queue(
            name,
            prefetch=prefetch,
            visibility_s=visibility_s,
            clock=clock,
            exceeded=lambda properties: receive_count(properties) > max_receives,
            has_dead_letters=True,
        )

    def dead_letters(
        self,
        name: str,
        *,
        prefetch: int = 10,
        visibility_s: float = 60.0,
        clock: Callable[[], float] = time.time,
    ) -> RabbitQueue:
        """The dead-letter queue of the queue `name`."""
        return self._queue(
            dead_name(name),
            prefetch=prefetch,
            visibility_s=visibility_s,
            clock=clock,
            exceeded=lambda _: False,
            has_dead_letters=False,
        )

    def declare(
        self, names: Sequence[str], *, max_receives: int = 20, timeout_s: float = 30.0
    ) -> None:
        """Make the queues that are missing; as `declare_topology`."""
        declare_topology(self._publishing, names, max_receives=max_receives, timeout_s=timeout_s)

    def counts(self, name: str, *, timeout_s: float = 10.0) -> Counts:
        """How many messages wait in a queue and beside it; as `count_messages`."""
        return count_messages(self._publishing, name, timeout_s=timeout_s)

    def wait(self, timeout_s: float) -> bool:
        """Wait until a delivery of any queue can be received, or the time is up."""
        with self._arrivals:
            return self._arrivals.wait_for(
                lambda: any(consumer.ready for consumer in self._consumers), timeout_s
            )

    def close(self, timeout_s: float = 5.0) -> None:
        """Send what was settled and close; what is still held goes back to its queue."""
        self._publishing.close(timeout_s)
        self._consuming.close(timeout_s)

    def _queue(
        self,
        name: str,
        *,
        prefetch: int,
        visibility_s: float,
        clock: Callable[[], float],
        exceeded: Callable[[object], bool],
        has_dead_letters: bool,
    ) -> RabbitQueue:
        if name in self._queues:
            return self._queues[name]
        consumer = Consumer(
            self._consuming,
            queue=name,
            prefetch=prefetch,
            visibility_s=visibility_s,
            clock=clock,
            arrivals=self._arrivals,
            exceeded=exceeded,
        )
        self._consumers.append(consumer)
        self._queues[name] = RabbitQueue(
            name,
            connection=self._publishing,
            publisher=self._publisher,
            consumer=consumer,
            clock=clock,
            has_dead_letters=has_dead_letters,
        )
        return self._queues[name]
