"""The queues of the lane in RabbitMQ: their names, their arguments, and how they are declared.

    <name>            what workers consume
    <name>-dead       what can never be worked on, or was delivered too often; nothing consumes it
    <name>-retry-<s>  messages for later, each with its own delay of up to <s> seconds; when it is over
                      the broker moves them to <name>

All are quorum queues. Every message that the broker moves by itself is moved at least once, which
takes both a strategy and an overflow that rejects: with either alone RabbitMQ falls back to at most
once and says nothing. A queue expires its messages at its head alone, so that a short delay behind a
long one would wait for it: the longer one is at most the queue's own <s>.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from shared.errors import QueueUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.queues.rabbitmq.connection import Connection

RETRY_S: Final = (10, 60, 600, 3600)
"""Longest delays of the retry queues; what should wait longer comes back after the longest."""
CONSUMER_TIMEOUT_MS: Final = 2 * 3600 * 1000
"""How long a delivery may stay unacknowledged: twice the longest run of a job. From RabbitMQ 3.12 on;
an older broker ignores it and takes its own `consumer_timeout`, 30 minutes unless set."""
NEVER: Final = 1_000_000_000
"""A delivery limit that nobody reaches. From 4.0 on a queue without one drops at 20; 3.10 takes no -1."""
PRECONDITION_FAILED: Final = 406


def queue_name(stage: str, pool: str, queue: str) -> str:
    """The name of a pool's queue in the broker."""
    return f"laneway-{stage}-{pool}-{queue}"


def dead_name(name: str) -> str:
    """The name of a queue's dead-letter queue."""
    return f"{name}-dead"


def retry_name(name: str, delay_s: float) -> str:
    """The name of the retry queue for such a delay."""
    longest = next((longest for longest in RETRY_S if delay_s <= longest), RETRY_S[-1])
    return f"{name}-retry-{longest}"


class Counts(NamedTuple):
    """Messages that wait: to be delivered, for later, and for somebody to look at them."""

    ready: int
    delayed: int
    dead: int


@dataclass(frozen=True, slots=True)
class Declaration:
    """One queue; `arguments` None: it is only looked at, and must exist."""

    name: str
    arguments: Mapping[str, Any] | None = field(default=None)


def declarations(name: str, *, max_receives: int) -> list[Declaration]:
    """A queue with its dead-letter and retry queues."""
    main = Declaration(
        name,
        {
            "x-queue-type": "quorum",
            "x-delivery-limit": max_receives - 1,
            "x-consumer-timeout": CONSUMER_TIMEOUT_MS,
            **_moving_to(dead_name(name)),
        },
    )
    dead = Declaration(dead_name(name), {"x-queue-type": "quorum", "x-delivery-limit": NEVER})
    return [dead, main, *(_retry(name, longest) for longest in RETRY_S)]


def declare_topology(
    connection: Connection, names: Sequence[str], *, max_receives: int = 20, timeout_s: float = 30.0
) -> None:
    """Make the queues that are not there yet; from any thread but the I/O thread.

    Raises `ValueError` for a queue that exists with other arguments, `QueueUnavailableError` where the
    broker cannot be asked.
    """
    wanted = [item for name in names for item in declarations(name, max_receives=max_receives)]
    declare(connection, wanted, timeout_s=timeout_s)


def count_messages(connection: Connection, name: str, *, timeout_s: float) -> Counts:
    """How many messages wait in a queue and beside it; those in flight the broker does not tell here.

    Raises `QueueUnavailableError`, also where a queue is missing.
    """
    names = [name, dead_name(name), *(retry_name(name, longest) for longest in RETRY_S)]
    wanted = [Declaration(each) for each in names]
    ready, dead, *delayed = declare(connection, wanted, timeout_s=timeout_s)
    return Counts(ready=ready, delayed=sum(delayed), dead=dead)


def declare(
    connection: Connection, wanted: Sequence[Declaration], *, timeout_s: float
) -> list[int]:
    """Declare queues on a channel of their own; gives the messages that are ready in each."""
    connection.start()
    asking = _Asking(wanted)
    connection.add(asking)
    try:
        return asking.answer.result(timeout_s)
    except TimeoutError as error:
        trouble = connection.trouble or "RabbitMQ does not answer"
        raise QueueUnavailableError(f"{trouble}; try again later") from error
    finally:
        connection.call(partial(_forget, connection, asking))


def _forget(connection: Connection, asking: _Asking) -> None:
    connection.remove(asking)
    asking.close()


class _Asking:
    """Implements `Member`: declares one queue after the other, from the start on a new connection."""

    def __init__(self, wanted: Sequence[Declaration]) -> None:
        self.answer: Future[list[int]] = Future()
        self._wanted = wanted
        self._found: list[int] = []
        self._channel: Any = None

    def close(self) -> None:
        """Let go of the channel; only on the I/O thread."""
        if self._channel is not None and self._channel.is_open:
            self._channel.close()

    def opened(self, connection: Any) -> None:
        self._found = []
        if not self.answer.done():
            connection.channel(on_open_callback=self._on_channel)

    def lost(self, reason: str) -> None:
        """The next connection is asked."""

    def blocked(self, reason: str | None) -> None:
        """A declaration is no message."""

    def _on_channel(self, channel: Any) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._on_closed)
        self._ask(channel)

    def _ask(self, channel: Any) -> None:
        if len(self._found) == len(self._wanted):
            if not self.answer.done():
                self.answer.set_result(self._found)
            return
        item = self._wanted[len(self._found)]
        channel.queue_declare(
            item.name,
            passive=item.arguments is None,
            durable=True,
            arguments=dict(item.arguments or {}),
            callback=partial(self._on_declared, channel),
        )

    def _on_declared(self, channel: Any, frame: Any) -> None:
        self._found.append(frame.method.message_count)
        self._ask(channel)

    def _on_closed(self, channel: Any, error: BaseException) -> None:
        """Closed by the broker, it is the answer; with the connection, the next one is asked."""
        if self.answer.done() or not channel.connection.is_open:
            return
        name = self._wanted[len(self._found)].name
        text = getattr(error, "reply_text", type(error).__name__)
        if getattr(error, "reply_code", None) == PRECONDITION_FAILED:
            self.answer.set_exception(
                ValueError(
                    f"queue {name!r} exists with other arguments; stop its workers, empty and delete it: {text}"
                )
            )
        else:
            self.answer.set_exception(QueueUnavailableError(f"queue {name!r}: {text}"))


def _retry(name: str, longest_s: int) -> Declaration:
    moving = _moving_to(name)
    return Declaration(
        f"{name}-retry-{longest_s}",
        {"x-queue-type": "quorum", "x-message-ttl": longest_s * 1000, **moving},
    )


def _moving_to(queue: str) -> dict[str, Any]:
    return {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
