"""Deliveries that the broker pushes, held until they are settled, lapse, or the channel is gone.

The broker gives this process up to `prefetch` messages ahead; a thread that receives takes them from
here without I/O. What was received and is neither settled nor extended within its visibility is given
back, as SQS would: a thread that hangs keeps no message for ever. Messages that nobody has received
yet have no such clock. When the channel goes, everything held is the broker's again.

Threads meet seldom: those that receive are woken once for all that a read of the socket brought, and
what was acknowledged meanwhile is told the broker together, in one frame as far as it has no gap.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from random import uniform
from typing import TYPE_CHECKING, Any, Final

from pika.exceptions import AMQPError

from shared.limits import MESSAGE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
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
        """Filled by the I/O thread alone, which takes no lock for it."""
        self._held: dict[str, Held] = {}
        self._acknowledged: list[Held] = []
        """What the I/O thread has been asked to tell the broker."""
        self._untold: dict[int, None] = {}
        """Tags of this channel that the broker has not heard of, in their order; the I/O thread's."""
        self._lapse_at = math.inf
        """Nothing that is held lapses before."""
        self._waking = False
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
            if self._stopped:
                return []
            taken = [self._buffer.popleft() for _ in range(min(limit, len(self._buffer)))]
            visible_at = self._clock() + self._visibility_s
            for held in taken:
                held.visible_at = visible_at
                self._held[held.receipt] = held
            self._lapse_at = min(self._lapse_at, visible_at)
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
                self._lapse_at = min(self._lapse_at, held.visible_at)

    def acknowledge(self, receipts: Sequence[str]) -> None:
        """Let the broker remove messages."""
        with self._arrivals:
            is_asked = bool(self._acknowledged)
            found = [self._held.pop(receipt, None) for receipt in receipts]
            self._acknowledged += [held for held in found if held is not None]
            is_asked = is_asked or not self._acknowledged
        if not is_asked:
            self._connection.call(self._acknowledge)

    def give_back(self, receipt: str) -> None:
        """Let the broker deliver a message again, counted as a delivery.

        By reject: from RabbitMQ 4.3 on a nack is not counted, and would repeat for ever.
        """
        if held := self._let_go(receipt):
            self._connection.call(partial(self._settle, held, "basic_reject", requeue=True))

    def stop(self) -> None:
        """Take no more, and let others have at once what nobody has taken here; for good."""
        with self._arrivals:
            self._stopped = True
            self._arrivals.notify_all()
            started = self._started
        if started:
            self._connection.call(self._cancel)

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
        if now < self._lapse_at:
            return
        with self._arrivals:
            lapses = {receipt: held.visible_at or 0.0 for receipt, held in self._held.items()}
            self._lapse_at = min((at for at in lapses.values() if at > now), default=math.inf)
        for receipt, at in lapses.items():
            if at <= now:
                self.give_back(receipt)

    def _cancel(self) -> None:
        """Nacked, not rejected: nobody has worked on these, and newer brokers do not count it."""
        if self._channel is not None and self._channel.is_open and self._channel.consumer_tags:
            self._channel.basic_cancel(self._channel.consumer_tags[0])
        while self._buffer:
            self._settle(self._buffer.popleft(), "basic_nack", requeue=True)

    def _acknowledge(self) -> None:
        """Tell the broker of all that was acknowledged: by one frame up to the first that was not."""
        with self._arrivals:
            acknowledged, self._acknowledged = self._acknowledged, []
        mine = {held.tag: held for held in acknowledged if held.channel is self._channel}
        row = list(takewhile(mine.__contains__, self._untold))
        for tag in row[:-1]:
            del self._untold[tag], mine[tag]
        for tag, held in mine.items():
            self._settle(held, "basic_ack", multiple=len(row) > 1 and tag == row[-1])

    def _settle(self, held: Held, action: str, **options: Any) -> None:
        """Tell the broker, unless the channel is gone: then the message is somebody else's by now."""
        if held.channel is not self._channel or not held.channel.is_open:
            return
        self._untold.pop(held.tag, None)
        try:
            getattr(held.channel, action)(held.tag, **options)
        except AMQPError:
            _LOGGER.info("a message was not settled: its channel is gone")

    def _let_go(self, receipt: str) -> Held | None:
        with self._arrivals:
            return self._held.pop(receipt, None)

    def _on_channel(self, channel: Any) -> None:
        self._channel = channel
        self._channels += 1
        self._untold.clear()
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
        if len(body) > MESSAGE_BYTES_MAX:
            _LOGGER.warning("%s: a message of %d bytes is put aside", self._queue, len(body))
        if len(body) > MESSAGE_BYTES_MAX or self._exceeded(properties):
            channel.basic_reject(method.delivery_tag, requeue=False)
            return
        tag = method.delivery_tag
        held = Held(channel, f"{self._channels}.{tag}", tag, properties, body)
        self._untold[tag] = None
        if self._stopped:
            self._settle(held, "basic_nack", requeue=True)
            return
        self._buffer.append(held)
        if not self._waking:
            self._waking = True
            self._connection.later(0, self._wake)

    def _wake(self) -> None:
        """Once for all that came by one read."""
        self._waking = False
        with self._arrivals:
            self._arrivals.notify_all()
