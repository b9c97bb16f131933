"""One event of the webhooks' queue: its messages are attempted at the same time, and settled one by one.

A message that is to come again is hidden for its wait and reported as failed, so that Lambda leaves
it on the queue. When nothing could be attempted because a service of ours does not answer, the
handler raises, and Lambda slows down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shared.errors import UnavailableError
from shared.jobs.delivery import Bury, Retry
from shared.jobs.parallel import Parallel
from shared.jobs.webhook_schedule import hidden_s
from shared.queues.sqs import from_record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from functions.webhooks.lines import WebhookLines
    from shared.jobs.webhooks import WebhookSender
    from shared.queues.protocol import Delivery, Queue

BATCH: Final = 10
"""Messages of one event, each in a thread of its own: a slow receiver delays nobody else's."""


def make_handler(
    sender: WebhookSender, *, queue: Queue, lines: WebhookLines
) -> Callable[[Mapping[str, Any], Any], dict[str, Any]]:
    """The Lambda handler of a queue with partial batch responses."""
    parallel = Parallel(threads=BATCH)

    def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        def work(record: Mapping[str, Any]) -> Exception | bool:
            return _work(record, sender=sender, queue=queue, lines=lines, context=context)

        records = event["Records"]
        ends = parallel.map(work, records)
        ours = [end for end in ends if isinstance(end, UnavailableError)]
        if ours and len(ours) == len(records):
            raise ours[0]
        failed = [
            {"itemIdentifier": record["messageId"]}
            for record, end in zip(records, ends, strict=True)
            if end is not True
        ]
        return {"batchItemFailures": failed}

    return handler


def _work(
    record: Mapping[str, Any],
    *,
    sender: WebhookSender,
    queue: Queue,
    lines: WebhookLines,
    context: Any,
) -> Exception | bool:
    """True: the message is done with; False: it comes again; else what went wrong on our side."""
    try:
        delivery = from_record(record)
        attempt = sender.deliver(delivery, first_received_at=_first_received_at(record))
        lines.attempt(attempt, message_id=delivery.message_id, context=context)
        return _settle(queue, delivery, attempt.outcome)
    except Exception as error:  # noqa: BLE001  one message's defect must not fail the others
        lines.failure(error, message_id=record["messageId"], context=context)
        return error


def _settle(queue: Queue, delivery: Delivery, outcome: object) -> bool:
    if isinstance(outcome, Retry):
        queue.extend(delivery, visibility_s=hidden_s(outcome.after_s))
        return False
    if isinstance(outcome, Bury):
        queue.bury(delivery, reason=outcome.reason)
    return True


def _first_received_at(record: Mapping[str, Any]) -> float:
    """Epoch seconds; a retry's age is counted from here, so that a backlog costs no attempts."""
    system = record["attributes"]
    received_ms = system.get("ApproximateFirstReceiveTimestamp") or system["SentTimestamp"]
    return int(received_ms) / 1000
