"""Messages sent with confirms and `mandatory`: each is confirmed by the broker or has a reason.

A confirm means that a quorum of the queue's members has the message on disk. What was under way when
the connection was lost is sent again on the next one while the time allows it: a message may then be
on its queue twice, and none is missing.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final, Literal

from pika.exceptions import AMQPError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.queues.rabbitmq.connection import Connection

Ending = Literal["confirmed", "unroutable", "refused", "blocked", "lost"]
"""How a message fared. `refused`: nacked, or the channel was closed for it; `lost`: the connection went."""
_DEFAULT_EXCHANGE: Final = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message as it goes to the broker: to the queue of this name."""

    queue: str
    body: bytes
    properties: Any


class _Batch:
    """Messages under way together; `endings` is whole once `done` is set."""

    def __init__(self, messages: Sequence[Outgoing]) -> None:
        self.messages = messages
        self.endings: list[Ending] = ["lost"] * len(messages)
        self.done = threading.Event()
        self._open = set(range(len(messages)))

    def end(self, position: int, ending: Ending) -> None:
        if position in self._open:
            self._open.remove(position)
            self.endings[position] = ending
        if not self._open:
            self.done.set()

    def end_all(self, ending: Ending) -> None:
        for position in list(self._open):
            self.end(position, ending)


@dataclass(slots=True)
class _Unconfirmed:
    batch: _Batch
    position: int
    returned: bool = False

    def is_for(self, queue: str, message_id: str) -> bool:
        message = self.batch.messages[self.position]
        return message.queue == queue and message.properties.message_id == message_id


class Publisher:
    """Implements `Member`: a channel in confirm mode, and what waits for its confirms."""

    def __init__(self, connection: Connection, *, confirm_timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = confirm_timeout_s
        self._ready = threading.Event()
        self._channel: Any = None
        self._unconfirmed: dict[int, _Unconfirmed] = {}
        self._sent = 0
        self._blocked = False
        connection.add(self)

    def publish(self, messages: Sequence[Outgoing]) -> list[Ending]:
        """How each message fared, within the timeout; from any thread but the I/O thread."""
        self._connection.start()
        deadline = time.monotonic() + self._timeout_s
        endings: list[Ending] = ["lost"] * len(messages)
        while left := [at for at, ending in enumerate(endings) if ending == "lost"]:
            if not self._ready.wait(_until(deadline)) or time.monotonic() >= deadline:
                break
            batch = _Batch([messages[at] for at in left])
            self._connection.call(partial(self._send, batch))
            batch.done.wait(_until(deadline))
            for at, ending in zip(left, batch.endings, strict=True):
                endings[at] = ending
        return endings

    def opened(self, connection: Any) -> None:
        """Open the channel."""
        connection.channel(on_open_callback=self._on_channel)

    def lost(self, reason: str) -> None:  # noqa: ARG002  a member's method; the connection keeps it
        """Nothing that is under way will be confirmed."""
        self._blocked = False
        self._stop("lost")

    def blocked(self, reason: str | None) -> None:
        """Nothing is sent and nothing is waited for while the broker takes no messages."""
        self._blocked = reason is not None
        if self._blocked:
            self._end_all("blocked")

    def _on_channel(self, channel: Any) -> None:
        self._channel = channel
        self._sent = 0
        channel.add_on_return_callback(self._on_return)
        channel.add_on_close_callback(self._on_channel_closed)
        channel.confirm_delivery(self._on_confirm, callback=lambda _: self._ready.set())

    def _on_channel_closed(self, channel: Any, _: BaseException) -> None:
        """The broker closes a channel for a fault, such as a right that is missing."""
        if channel.connection.is_open:
            self._stop("refused")
            self.opened(channel.connection)

    def _send(self, batch: _Batch) -> None:
        if self._blocked:
            batch.end_all("blocked")
        for position, message in enumerate(batch.messages):
            if batch.done.is_set() or self._channel is None:
                break
            try:
                self._publish(message)
            except AMQPError:
                break
            self._unconfirmed[self._sent] = _Unconfirmed(batch, position)
        else:
            return
        batch.done.set()

    def _publish(self, message: Outgoing) -> None:
        self._channel.basic_publish(
            _DEFAULT_EXCHANGE, message.queue, message.body, message.properties, mandatory=True
        )
        self._sent += 1

    def _on_return(self, _: Any, method: Any, properties: Any, __: bytes) -> None:
        """An unroutable message comes back before its confirm, which comes all the same."""
        for waiting in self._unconfirmed.values():
            if waiting.is_for(method.routing_key, properties.message_id):
                waiting.returned = True

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        acked = method.NAME == "Basic.Ack"
        tags = [method.delivery_tag]
        if method.multiple:
            tags = list(takewhile(lambda tag: tag <= method.delivery_tag, self._unconfirmed))
        for tag in tags:
            if waiting := self._unconfirmed.pop(tag, None):
                waiting.batch.end(waiting.position, _ending(waiting, acked=acked))

    def _stop(self, ending: Ending) -> None:
        self._ready.clear()
        self._channel = None
        self._end_all(ending)

    def _end_all(self, ending: Ending) -> None:
        unconfirmed, self._unconfirmed = self._unconfirmed, {}
        for waiting in unconfirmed.values():
            waiting.batch.end(waiting.position, ending)


def _ending(waiting: _Unconfirmed, *, acked: bool) -> Ending:
    if waiting.returned:
        return "unroutable"
    return "confirmed" if acked else "refused"


def _until(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())
