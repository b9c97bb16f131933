"""The sending function as a Lambda handler: two calls, and one log line for each.

    {"messages": [{"queue": "<pool>/<queue>", "body", "tenant", "attributes"?, "delay_s"?}, ...]}
        -> {"sent": [<the broker's id> | null, ...], "available": true | false}
    {"depths": ["<pool>/<queue>", ...]}
        -> {"depths": {"<pool>/<queue>": {"ready", "delayed", "dead"} | null}, "available": ...}

Null: not confirmed, or not known. A queue that is missing is made, with what belongs to it. It sends to
the queues of its settings and to no other.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from shared.errors import QueueUnavailableError
from shared.queues.protocol import Message
from shared.telemetry import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aws_lambda_powertools import Logger

    from functions.send.broker import WarmBroker
    from shared.queues.rabbitmq import RabbitBroker, RabbitQueue
    from shared.queues.rabbitmq.queue import Sent
    from shared.settings.jobs import SendSettings

SENT: Final = "broker_sent"
NOT_CONFIRMED: Final = "broker_not_confirmed"
DEPTH_S: Final = 5.0
UNREACHED: Final = frozenset({"lost", "blocked"})


def make_handler(
    settings: SendSettings, *, broker: WarmBroker, logger: Logger
) -> Callable[[Mapping[str, Any], Any], dict[str, Any]]:
    """The Lambda handler. Raises `ValueError` for an event that is neither call."""
    sending = Sending(settings, broker, logger)

    def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        if "messages" in event:
            return sending.send(event["messages"], context.aws_request_id)
        if "depths" in event:
            return sending.count(event["depths"])
        raise ValueError("an event has messages or depths")

    return handler


class Sending:
    """Sends and counts on a broker that is kept warm."""

    def __init__(self, settings: SendSettings, broker: WarmBroker, logger: Logger) -> None:
        self._stage = settings.stage
        self._warm = broker
        self._logger = logger
        self._names = {
            f"{pool}/{queue}": name
            for pool, names in settings.queues.items()
            for queue, name in names.items()
        }

    def send(self, messages: Sequence[Mapping[str, Any]], request_id: str) -> dict[str, Any]:
        """Send messages, each to its queue."""
        sent: list[str | None] = [None] * len(messages)
        places: dict[str, list[int]] = {}
        for position, message in enumerate(messages):
            places.setdefault(message["queue"], []).append(position)
        reached = True
        for place, positions in places.items():
            if reached and place in self._names:
                batch = [_message(messages[position]) for position in positions]
                results, reached = self._send_to(self._names[place], batch)
                for position, result in zip(positions, results, strict=True):
                    sent[position] = result
        self._warm.used(reached=reached)
        self._tell(sent, request_id)
        return {"sent": sent, "available": reached}

    def count(self, places: Sequence[str]) -> dict[str, Any]:
        """How many messages wait in each queue and beside it."""
        depths: dict[str, dict[str, int] | None] = dict.fromkeys(places)
        reached = True
        for place in places:
            if reached and place in self._names:
                depths[place] = self._count(self._names[place])
                reached = depths[place] is not None
        self._warm.used(reached=reached)
        return {"depths": depths, "available": reached}

    def _send_to(self, name: str, batch: Sequence[Message]) -> tuple[list[str | None], bool]:
        """The broker's ids, and whether the broker was reached."""
        try:
            broker = self._warm.take()
            results = _send_or_declare(broker, broker.queue(name), batch)
        except QueueUnavailableError as error:
            self._logger.warning("not sent", extra={"queue": name, "reason": str(error)})
            return [None] * len(batch), False
        endings = {result.ending for result in results} - {"confirmed"}
        if endings:
            self._logger.warning("not sent", extra={"queue": name, "reason": sorted(endings)})
        return [result.message_id for result in results], not endings & UNREACHED

    def _count(self, name: str) -> dict[str, int] | None:
        try:
            broker = self._warm.take()
            try:
                counts = broker.counts(name, timeout_s=DEPTH_S)
            except QueueUnavailableError:
                broker.declare([name], timeout_s=DEPTH_S)
                counts = broker.counts(name, timeout_s=DEPTH_S)
        except (QueueUnavailableError, ValueError) as error:
            self._logger.warning("not counted", extra={"queue": name, "reason": str(error)})
            return None
        return counts._asdict()

    def _tell(self, sent: Sequence[str | None], request_id: str) -> None:
        counts = {SENT: len(sent) - sent.count(None), NOT_CONFIRMED: sent.count(None)}
        metrics = {name: count for name, count in counts.items() if count}
        directive = {
            "Namespace": NAMESPACE,
            "Dimensions": [["stage"]],
            "Metrics": [{"Name": name, "Unit": "Count"} for name in metrics],
        }
        self._logger.info(
            "send",
            extra={
                "function_request_id": request_id,
                "stage": self._stage,
                **metrics,
                "_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]},
            },
        )


def _send_or_declare(
    broker: RabbitBroker, queue: RabbitQueue, batch: Sequence[Message]
) -> list[Sent]:
    """Send; what finds no queue is sent once more when the queue was made."""
    results = queue.send_each(batch)
    unroutable = [at for at, result in enumerate(results) if result.ending == "unroutable"]
    if unroutable:
        broker.declare([queue.name], timeout_s=DEPTH_S)
        again = queue.send_each([batch[at] for at in unroutable])
        for at, result in zip(unroutable, again, strict=True):
            results[at] = result
    return results


def _message(written: Mapping[str, Any]) -> Message:
    return Message(
        body=written["body"],
        tenant=written["tenant"],
        delay_s=written.get("delay_s", 0),
        attributes=written.get("attributes", {}),
    )
