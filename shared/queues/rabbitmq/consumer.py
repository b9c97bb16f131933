"""Deliveries that the broker pushes, held until they are settled, lapse, or the channel is gone.

The broker gives this process up to `prefetch` messages ahead; a thread that receives takes them from
here without I/O. What was received and is neither settled nor extended within its visibility is given
back, as SQS would: a thread that hangs keeps no message for ever. Messages that nobody has received
yet have no such clock. When the channel goes, everything held is the broker's again.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from functools import partial
from random import uniform
from typing import TYPE_CHECKING, Any, Final

from pika.exceptions import AMQPError

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Condition

    from shared.queues.rabbitmq.connection import Connection

LAPSE_CHECK_S: Final = 1.0
REOPEN_S: Final = (0.5, 2.0)
"""Bounds of the wait before a channel that was closed, or a queue that is missing, is tried again."""
_LOGGER: Final = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Held:
    """A message that the broker waits to hear of; `visible_at` is set once it was received."""

    channel: Any
    receipt: str
    """Names this delivery, and no other in this process."""
    tag: int
    properties: Any
    body: bytes
    visible_at: float | None = None


class Consumer:
    """Implements `Member`: the consumer of one queue. Consuming begins with the first `take`."""

    def __init__(
        self,
        connection: Connection,
        *,
        queue: str,
        prefetch: int,
        visibility_s: float,
        clock: Callable[[], float],
        arrivals: Condition,
        exceeded: Callable[[Any], bool],
    ) -> None:
        """`arrivals` is notified of deliveries; `exceeded`: whether these properties came too often."""
        self._connection = connection
        self._queue = queue
        self._prefetch = prefetch
        self._visibility_s = visibility_s
        self._clock = clock
        self._arrivals = arrivals
        self._exceeded = exceeded
        self._buffer: deque[Held] = deque()
        self._held: dict[str, Held] = {}
        self._channel: Any = None
        self._channels = 0
        self._started = False
        self._stopped = False
        self.trouble: str | None = None
        """Why nothing is consumed; None while it is, and before the first try ended."""

    @property
    def ready(self) -> bool:
        """Whether a delivery waits to be taken."""
        return bool(self._buffer)

    def take(self, limit: int, wait_s: float) -> list[Held]:
        """Up to `limit` messages, now held by the caller for the visibility."""
        self._start()
        self._give_back_lapsed()
        with self._arrivals:
            self._arrivals.wait_for(lambda: self._buffer or self._stopped, wait_s)
            taken = [self._buffer.popleft() for _ in range(min(limit, len(self._buffer)))]
            for held in taken:
                held.visible_at = self._clock() + self._visibility_s
                self._held[held.receipt] = held
        return taken

    def held(self, receipt: str) -> Held | None:
        """The message, where it is still this process's."""
        with self._arrivals:
            return self._held.get(receipt)

    def extend(self, receipt: str, visibility_s: float) -> None:
        """Hold a message for so long from now."""
        with self._arrivals:
            if held := self._held.get(receipt):
                held.visible_at = self._clock() + visibility_s

    def acknowledge(self, receipt: str) -> None:
        """Let the broker remove a message."""
        if held := self._let_go(receipt):
            self._connection.call(partial(_settle, held, "basic_ack"))

    def give_back(self, receipt: str) -> None:
        """Let the broker deliver a message again, counted as a delivery.

        By reject: from RabbitMQ 4.3 on a nack is not counted, and would repeat for ever.
        """
        if held := self._let_go(receipt):
            self._connection.call(partial(_settle, held, "basic_reject", requeue=True))

    def stop(self) -> None:
        """Take no more, and let others have at once what nobody has taken here; for good."""
        with self._arrivals:
            self._stopped = True
            ahead = list(self._buffer)
            self._buffer.clear()
            self._arrivals.notify_all()
            started = self._started
        if started:
            self._connection.call(partial(self._cancel, ahead))

    def in_flight(self) -> int:
        """Messages that are here, received or not."""
        with self._arrivals:
            return len(self._buffer) + len(self._held)

    def opened(self, connection: Any) -> None:
        """Open the channel."""
        connection.channel(on_open_callback=self._on_channel)

    def lost(self, reason: str) -> None:
        """Everything that was held is the broker's again."""
        self._channel = None
        with self._arrivals:
            self.trouble = reason
            self._buffer.clear()
            self._held.clear()

    def blocked(self, reason: str | None) -> None:
        """A connection that publishes nothing is never blocked."""

    def _start(self) -> None:
        with self._arrivals:
            if self._started:
                return
            self._started = True
        self._connection.start()
        self._connection.add(self)
        self._connection.call(self._watch)

    def _watch(self) -> None:
        self._give_back_lapsed()
        self._connection.later(LAPSE_CHECK_S, self._watch)

    def _give_back_lapsed(self) -> None:
        now = self._clock()
        with self._arrivals:
            lapsed = [
                receipt
                for receipt, held in self._held.items()
                if held.visible_at is not None and held.visible_at <= now
            ]
        for receipt in lapsed:
            self.give_back(receipt)

    def _cancel(self, ahead: list[Held]) -> None:
        """Nacked, not rejected: nobody has worked on these, and newer brokers do not count it."""
        if self._channel is not None and self._channel.is_open and self._channel.consumer_tags:
            self._channel.basic_cancel(self._channel.consumer_tags[0])
        for held in ahead:
            _settle(held, "basic_nack", requeue=True)

    def _let_go(self, receipt: str) -> Held | None:
        with self._arrivals:
            return self._held.pop(receipt, None)

    def _on_channel(self, channel: Any) -> None:
        self._channel = channel
        self._channels += 1
        channel.add_on_close_callback(self._on_channel_closed)
        channel.add_on_cancel_callback(lambda _: channel.close(reply_text="the queue was deleted"))
        if self._stopped:
            return
        channel.basic_qos(prefetch_count=self._prefetch)
        channel.basic_consume(self._queue, self._on_message, callback=self._on_consuming)

    def _on_consuming(self, _: Any) -> None:
        self.trouble = None

    def _on_channel_closed(self, channel: Any, error: BaseException) -> None:
        text = getattr(error, "reply_text", "") or type(error).__name__
        self.lost(f"queue {self._queue!r} cannot be consumed: {text}")
        if channel.connection.is_open:
            _LOGGER.warning("%s; trying again", self.trouble)
            self._connection.later(uniform(*REOPEN_S), partial(self._reopen, channel.connection))  # noqa: S311  spreads load, guards nothing

    def _reopen(self, connection: Any) -> None:
        if connection.is_open and self._channel is None:
            self.opened(connection)

    def _on_message(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        if self._exceeded(properties):
            channel.basic_reject(method.delivery_tag, requeue=False)
            return
        tag = method.delivery_tag
        held = Held(channel, f"{self._channels}.{tag}", tag, properties, body)
        with self._arrivals:
            is_wanted = not self._stopped
            if is_wanted:
                self._buffer.append(held)
                self._arrivals.notify_all()
        if not is_wanted:
            _settle(held, "basic_nack", requeue=True)


def _settle(held: Held, action: str, **options: Any) -> None:
    """Tell the broker, unless the channel is gone: then the message is somebody else's by now."""
    if held.channel.is_open:
        try:
            getattr(held.channel, action)(held.tag, **options)
        except AMQPError:
            _LOGGER.info("a message was not settled: its channel is gone")
