"""A queue of RabbitMQ as it is sent to from outside the broker's network: through the `send` function.

Only sends. A function that accepts jobs speaks no AMQP: the row of a job is committed before, so that
a message which nobody confirms is the sweeper's to send, and no caller waits long for a broker.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final, NoReturn

import boto3
from botocore.config import Config

from shared.aws import translated
from shared.errors import QueueUnavailableError
from shared.queues.messages import batched, check_message
from shared.queues.protocol import Delivery, Message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mypy_boto3_lambda import LambdaClient

PAUSE_S: Final = 5.0
"""After a failure nobody asks again for so long: an outage costs one caller its wait, not each."""
CALL_BYTES_MAX: Final = 3 * 1024 * 1024
"""Messages of one call: with its JSON around them well under what Lambda takes."""
CALL_MESSAGES_MAX: Final = 500
# Tried once: what was not confirmed is sent again by whoever keeps the row, and nobody waits twice.
_TIMEOUTS: Final = Config(connect_timeout=1, read_timeout=8, retries={"total_max_attempts": 1})


def connect_lambda() -> LambdaClient:
    """A client that waits for one call no longer than the `send` function takes, started cold too."""
    return boto3.client("lambda", config=_TIMEOUTS)


class SendFunction:
    """The `send` function of a stage, asked by all its queues; safe to use from several threads."""

    def __init__(
        self,
        client: LambdaClient,
        *,
        function: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock`: seconds, for the pause after a failure."""
        self._client = client
        self._function = function
        self._clock = clock
        self._paused_until = float("-inf")

    def ask(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Its answer. Raises `QueueUnavailableError` where it has none, or cannot reach the broker."""
        if self._clock() < self._paused_until:
            raise QueueUnavailableError("the broker was not reached a moment ago; try again later")
        try:
            answer = self._invoke(event)
        except QueueUnavailableError:
            self._pause()
            raise
        if not answer.get("available", True):
            self._pause()
        return answer

    def _invoke(self, event: Mapping[str, Any]) -> dict[str, Any]:
        with translated(QueueUnavailableError, "the send function"):
            answer = self._client.invoke(
                FunctionName=self._function,
                InvocationType="RequestResponse",
                Payload=json.dumps(event).encode(),
            )
        if answer.get("FunctionError"):
            raise QueueUnavailableError("the send function failed; its log says why")
        told: dict[str, Any] = json.loads(answer["Payload"].read())
        return told

    def _pause(self) -> None:
        self._paused_until = self._clock() + PAUSE_S


class InvokedQueue:
    """Implements what `Queue` says of sending, for the queue `pool`/`queue` of the stage."""

    def __init__(self, function: SendFunction, *, pool: str, queue: str) -> None:
        self._function = function
        self._queue = f"{pool}/{queue}"

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
        [message_id] = self._ask([message])
        if message_id is None:
            raise QueueUnavailableError(f"the broker did not take a message for {self._queue!r}")
        return message_id

    def send_many(self, messages: Sequence[Message]) -> Sequence[str | None]:
        """Put many messages on the queue, in few calls."""
        for message in messages:
            check_message(message.body, message.attributes)
        confirmed: list[str | None] = []
        for batch in batched(messages, count=CALL_MESSAGES_MAX, size_bytes=CALL_BYTES_MAX):
            try:
                confirmed += self._ask(batch)
            except QueueUnavailableError:
                confirmed += [None] * len(batch)
        return confirmed

    def stop_receiving(self) -> None:
        """Nothing is given ahead."""

    def depth(self) -> int:
        """Messages visible and delayed, not those in flight."""
        counts = self._function.ask({"depths": [self._queue]})["depths"][self._queue]
        if counts is None:
            raise QueueUnavailableError(f"the broker did not say how deep {self._queue!r} is")
        return int(counts["ready"]) + int(counts["delayed"])

    def receive(self, *, limit: int, wait_s: float) -> NoReturn:  # noqa: ARG002  the protocol's
        """Nothing is received through a function."""
        _refuse()

    def acknowledge(self, delivery: Delivery) -> NoReturn:  # noqa: ARG002  the protocol's
        """Nothing is received through a function."""
        _refuse()

    def acknowledge_many(self, deliveries: Sequence[Delivery]) -> NoReturn:  # noqa: ARG002  the protocol's
        """Nothing is received through a function."""
        _refuse()

    def hand_back(self, delivery: Delivery, *, delay_s: float = 0) -> NoReturn:  # noqa: ARG002  the protocol's
        """Nothing is received through a function."""
        _refuse()

    def hand_back_many(
        self,
        deliveries: Sequence[Delivery],  # noqa: ARG002  the protocol's
        *,
        delays_s: Sequence[float],  # noqa: ARG002  the protocol's
    ) -> NoReturn:
        """Nothing is received through a function."""
        _refuse()

    def extend(self, delivery: Delivery, *, visibility_s: int) -> NoReturn:  # noqa: ARG002  the protocol's
        """Nothing is received through a function."""
        _refuse()

    def bury(self, delivery: Delivery, *, reason: str) -> NoReturn:  # noqa: ARG002  the protocol's
        """Nothing is received through a function."""
        _refuse()

    def _ask(self, messages: Sequence[Message]) -> list[str | None]:
        event = {"messages": [_written(self._queue, message) for message in messages]}
        sent: list[str | None] = self._function.ask(event)["sent"]
        return sent


def _refuse() -> NoReturn:
    raise ValueError("a queue behind the send function is only sent to")


def _written(queue: str, message: Message) -> dict[str, Any]:
    return {
        "queue": queue,
        "body": message.body,
        "tenant": message.tenant,
        "delay_s": message.delay_s,
        "attributes": dict(message.attributes),
    }
