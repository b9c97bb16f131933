"""A queue whose consumers may be away: whoever sends also tells the function that starts them.

A wake is a hint. It is asynchronous, at most one in a while, and no failure of it is anybody's: the
message is on the queue, and the scaler looks there every minute by itself.
"""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Final, Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mypy_boto3_lambda import LambdaClient

    from shared.queues.protocol import Delivery, Message, Queue

WAKE_EVERY_S: Final = 20.0
"""Between two wakes for a pool by one process."""


_TIMEOUTS: Final = Config(connect_timeout=1, read_timeout=1, retries={"total_max_attempts": 1})


def connect_wake() -> LambdaClient:
    """A client that gives up soon, since a caller waits and the hint is only a hint."""
    return boto3.client("lambda", config=_TIMEOUTS)


class Wake(Protocol):
    """Tells that a pool has work."""

    def __call__(self, pool: str) -> None:
        """Raises nothing."""


class FunctionWake:
    """Invokes the functions named by pool, asynchronously: the answer is that the event is kept."""

    def __init__(
        self,
        connect: Callable[[], LambdaClient],
        *,
        functions: Mapping[str, str],
        clock: Callable[[], float],
    ) -> None:
        self._connect = cache(connect)
        self._functions = functions
        self._clock = clock
        self._lock = threading.Lock()
        self._told_at: dict[str, float] = {}

    def __call__(self, pool: str) -> None:
        """Tell, unless it was told just now."""
        if not self._is_time(pool):
            return
        with suppress(BotoCoreError, ClientError):
            self._connect().invoke(
                FunctionName=self._functions[pool],
                InvocationType="Event",
                Payload=json.dumps({"wake": pool}).encode(),
            )

    def _is_time(self, pool: str) -> bool:
        now = self._clock()
        with self._lock:
            if now - self._told_at.get(pool, -WAKE_EVERY_S) < WAKE_EVERY_S:
                return False
            self._told_at[pool] = now
            return True


class WakingQueue:
    """Implements `Queue` on another one; each message that is sent there also wakes the pool."""

    def __init__(self, queue: Queue, *, pool: str, wake: Wake) -> None:
        self._queue = queue
        self._pool = pool
        self._wake = wake

    def send(
        self,
        body: str,
        *,
        tenant: str,
        delay_s: int = 0,
        attributes: Mapping[str, str] | None = None,
    ) -> str:
        """Put a message on the queue, then wake its consumers."""
        sent = self._queue.send(body, tenant=tenant, delay_s=delay_s, attributes=attributes)
        self._wake(self._pool)
        return sent

    def send_many(self, messages: Sequence[Message]) -> Sequence[str | None]:
        """Put many messages on the queue, then wake its consumers if any was confirmed."""
        sent = self._queue.send_many(messages)
        if any(sent):
            self._wake(self._pool)
        return sent

    def receive(self, *, limit: int, wait_s: float) -> Sequence[Delivery]:
        """As the queue does."""
        return self._queue.receive(limit=limit, wait_s=wait_s)

    def acknowledge(self, delivery: Delivery) -> None:
        """As the queue does."""
        self._queue.acknowledge(delivery)

    def acknowledge_many(self, deliveries: Sequence[Delivery]) -> None:
        """As the queue does."""
        self._queue.acknowledge_many(deliveries)

    def hand_back(self, delivery: Delivery, *, delay_s: float = 0) -> None:
        """As the queue does."""
        self._queue.hand_back(delivery, delay_s=delay_s)

    def hand_back_many(self, deliveries: Sequence[Delivery], *, delays_s: Sequence[float]) -> None:
        """As the queue does."""
        self._queue.hand_back_many(deliveries, delays_s=delays_s)

    def extend(self, delivery: Delivery, *, visibility_s: int) -> None:
        """As the queue does."""
        self._queue.extend(delivery, visibility_s=visibility_s)

    def bury(self, delivery: Delivery, *, reason: str) -> None:
        """As the queue does."""
        self._queue.bury(delivery, reason=reason)

    def stop_receiving(self) -> None:
        """As the queue does."""
        self._queue.stop_receiving()

    def depth(self) -> int:
        """As the queue does."""
        return self._queue.depth()


def wake_on_send(
    queues: Mapping[tuple[str, str], Queue],
    *,
    wakes: Mapping[str, str],
    connect: Callable[[], LambdaClient],
    clock: Callable[[], float],
) -> dict[tuple[str, str], Queue]:
    """The same queues, by pool and queue, of which those of pools in `wakes` wake their consumers."""
    wake = FunctionWake(connect, functions=wakes, clock=clock)
    return {
        key: WakingQueue(queue, pool=key[0], wake=wake) if key[0] in wakes else queue
        for key, queue in queues.items()
    }
