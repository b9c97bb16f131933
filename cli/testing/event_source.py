"""A queue in front of a function, as Lambda's event source mapping is: batches in, partial failures out.

    source = EventSource(queue, function, name="laneway-local-shared-async")
    source.drain()

What the function reports as failed stays invisible for as long as it said, or as the queue does; a
function that raises gets the whole batch back. Moving what was received too often to the
dead-letter queue is the queue's own doing. Time is the queue's: nothing here waits.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cli.testing.lambdas import ACCOUNT, REGION
from shared.limits import SQS_BATCH_ENTRIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cli.testing.lambdas import LocalFunction
    from shared.queues.protocol import Delivery, Queue

POLLS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Poll:
    """One invocation: what was delivered, what stays, and what the function raised, if it did."""

    delivered: tuple[str, ...]
    failed: tuple[str, ...]
    error: Exception | None = None


@dataclass(eq=False)
class EventSource:
    """Feeds `function` from `queue`, whose name is in the events."""

    queue: Queue
    function: LocalFunction
    name: str
    batch_size: int = 10
    polls: list[Poll] = field(default_factory=list)
    """Every invocation so far."""

    def poll(self) -> Poll | None:
        """Deliver one batch; None when no message is visible."""
        deliveries = self._receive()
        if not deliveries:
            return None
        event = {"Records": [self._record(delivery) for delivery in deliveries]}
        names = tuple(delivery.message_id for delivery in deliveries)
        try:
            failed = _failed(self.function.call(event), names)
        except Exception as error:  # noqa: BLE001  whatever a function raises, Lambda keeps the batch
            poll = Poll(names, names, error)
        else:
            for delivery in deliveries:
                if delivery.message_id not in failed:
                    self.queue.acknowledge(delivery)
            poll = Poll(names, failed)
        self.polls.append(poll)
        return poll

    def drain(self) -> list[Poll]:
        """Deliver until no message is visible. Raises `RuntimeError` for a queue that never empties."""
        done: list[Poll] = []
        while poll := self.poll():
            done.append(poll)
            if len(done) == POLLS_MAX:
                raise RuntimeError(f"{self.name} still has messages after {POLLS_MAX} deliveries")
        return done

    def _receive(self) -> list[Delivery]:
        """Up to a batch, ten a call as SQS gives them."""
        received: list[Delivery] = []
        while len(received) < self.batch_size:
            limit = min(SQS_BATCH_ENTRIES, self.batch_size - len(received))
            more = self.queue.receive(limit=limit, wait_s=0)
            if not more:
                break
            received.extend(more)
        return received

    def _record(self, delivery: Delivery) -> dict[str, Any]:
        return {
            "messageId": delivery.message_id,
            "receiptHandle": delivery.receipt,
            "body": delivery.body,
            "attributes": {
                "ApproximateReceiveCount": str(delivery.receive_count),
                "SenderId": ACCOUNT,
                **_milliseconds("SentTimestamp", delivery.sent_at),
                **_milliseconds("ApproximateFirstReceiveTimestamp", delivery.first_received_at),
                **({"MessageGroupId": delivery.tenant} if delivery.tenant else {}),
            },
            "messageAttributes": {
                name: {"stringValue": value, "dataType": "String"}
                for name, value in delivery.attributes.items()
            },
            "md5OfBody": hashlib.md5(delivery.body.encode(), usedforsecurity=False).hexdigest(),
            "eventSource": "aws:sqs",
            "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.name}",
            "awsRegion": REGION,
        }


def _milliseconds(name: str, at_s: float | None) -> dict[str, str]:
    """The attribute as SQS writes it: text of whole milliseconds."""
    return {} if at_s is None else {name: str(round(at_s * 1000))}


def _failed(answer: Mapping[str, Any] | None, names: tuple[str, ...]) -> tuple[str, ...]:
    """The messages that stay, as Lambda reads an answer: one that it cannot read fails the batch."""
    items = (answer or {}).get("batchItemFailures") or []
    try:
        failed = tuple(item["itemIdentifier"] for item in items)
    except (KeyError, TypeError):
        return names
    return failed if all(name in names for name in failed) else names
