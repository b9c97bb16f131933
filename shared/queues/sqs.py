"""SQS standard queues, through a boto3 client of `shared.aws.make_client`.

The group of a message is its tenant, which makes a standard queue fair between tenants and orders
nothing. A delivery that Lambda's event source hands over is read by `from_record`.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal

from botocore.exceptions import ClientError

from shared.aws import error_code, translated
from shared.errors import QueueUnavailableError
from shared.limits import (
    SQS_BATCH_ENTRIES,
    SQS_DELAY_S_MAX,
    SQS_MESSAGE_BYTES,
    SQS_VISIBILITY_S_MAX,
)
from shared.queues.messages import batched, burial, check_message
from shared.queues.protocol import Delivery, Message

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

WAIT_S_MAX: Final = 20
_LAPSED: Final = frozenset({"MessageNotInflight", "ReceiptHandleIsInvalid"})
_INVALID_PARAMETER: Final = "InvalidParameterValue"
_GROUP: Final = "MessageGroupId"
_COUNTS: Final[
    tuple[
        Literal[
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesDelayed",
            "ApproximateNumberOfMessagesNotVisible",
        ],
        ...,
    ]
] = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
)


class SqsQueue:
    """Implements `Queue` on a queue's URL, and that of its dead-letter queue where it has one."""

    def __init__(self, client: SQSClient, *, url: str, dead_letter_url: str | None = None) -> None:
        self._client = client
        self._url = url
        self._dead_letter_url = dead_letter_url

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
        with _named():
            answer = self._client.send_message(QueueUrl=self._url, **_entry(message))
        return answer["MessageId"]

    def send_many(self, messages: Sequence[Message]) -> Sequence[str | None]:
        """Put many messages on the queue, ten a call where their size allows it."""
        for message in messages:
            check_message(message.body, message.attributes)
        confirmed: list[str | None] = []
        for batch in batched(messages, count=SQS_BATCH_ENTRIES, size_bytes=SQS_MESSAGE_BYTES):
            confirmed.extend(self._send_batch(batch))
        return confirmed

    def receive(self, *, limit: int, wait_s: float) -> Sequence[Delivery]:
        """Up to `limit` messages, ten at most.

        Raises `ValueError` where the client would give up before the broker answers.
        """
        if wait_s >= self._client.meta.config.read_timeout:  # type: ignore[attr-defined]  # not in the stubs
            raise ValueError(f"waiting {wait_s} s needs a client with a longer read timeout")
        with _named():
            answer = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=min(limit, SQS_BATCH_ENTRIES),
                WaitTimeSeconds=min(round(wait_s), WAIT_S_MAX),
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
        return [_delivery(message) for message in answer.get("Messages", [])]

    def acknowledge(self, delivery: Delivery) -> None:
        """Remove a message."""
        with _named(), _unless_lapsed():
            self._client.delete_message(QueueUrl=self._url, ReceiptHandle=delivery.receipt)

    def acknowledge_many(self, deliveries: Sequence[Delivery]) -> None:
        """Remove messages, ten a call; what is told of each tells nobody what to do about it."""
        for start in range(0, len(deliveries), SQS_BATCH_ENTRIES):
            some = deliveries[start : start + SQS_BATCH_ENTRIES]
            entries: Any = [
                {"Id": str(n), "ReceiptHandle": delivery.receipt} for n, delivery in enumerate(some)
            ]
            with _named():
                self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)

    def hand_back(self, delivery: Delivery, *, delay_s: float = 0) -> None:
        """Make a message visible again."""
        self.extend(delivery, visibility_s=math.ceil(delay_s))

    def hand_back_many(self, deliveries: Sequence[Delivery], *, delays_s: Sequence[float]) -> None:
        """Make messages visible again, ten a call; one that has lapsed is another's."""
        returned = list(zip(deliveries, delays_s, strict=True))
        for start in range(0, len(returned), SQS_BATCH_ENTRIES):
            entries: Any = [
                {
                    "Id": str(n),
                    "ReceiptHandle": delivery.receipt,
                    "VisibilityTimeout": min(math.ceil(delay_s), SQS_VISIBILITY_S_MAX),
                }
                for n, (delivery, delay_s) in enumerate(returned[start : start + SQS_BATCH_ENTRIES])
            ]
            with _named():
                self._client.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)

    def extend(self, delivery: Delivery, *, visibility_s: int) -> None:
        """Keep a message invisible, twelve hours at most."""
        with _named(), _unless_lapsed():
            self._client.change_message_visibility(
                QueueUrl=self._url,
                ReceiptHandle=delivery.receipt,
                VisibilityTimeout=min(visibility_s, SQS_VISIBILITY_S_MAX),
            )

    def bury(self, delivery: Delivery, *, reason: str) -> None:
        """Move a message to the dead-letter queue; a crash in between leaves it on both."""
        if self._dead_letter_url is None:
            raise ValueError("this queue has no dead-letter queue")
        body, attributes = burial(delivery.body, delivery.attributes, reason)
        message = Message(body=body, tenant=delivery.tenant, attributes=attributes)
        with _named():
            self._client.send_message(QueueUrl=self._dead_letter_url, **_entry(message))
        self.acknowledge(delivery)

    def stop_receiving(self) -> None:
        """Nothing is given ahead."""

    def depth(self) -> int:
        """Messages visible, delayed and in flight, within a minute or so."""
        with _named():
            answer = self._client.get_queue_attributes(
                QueueUrl=self._url, AttributeNames=[*_COUNTS]
            )
        return sum(int(answer["Attributes"].get(name, "0")) for name in _COUNTS)

    def _send_batch(self, batch: Sequence[Message]) -> list[str | None]:
        entries: Any = [{"Id": str(n), **_entry(message)} for n, message in enumerate(batch)]
        try:
            with _named():
                answer = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
        except QueueUnavailableError:
            return [None] * len(batch)
        ids = {entry["Id"]: entry["MessageId"] for entry in answer.get("Successful", [])}
        return [ids.get(str(n)) for n in range(len(batch))]


def from_record(record: Mapping[str, Any]) -> Delivery:
    """The delivery in a record of a Lambda event; `receipt` is good for this queue's calls."""
    system = record["attributes"]
    named = record.get("messageAttributes", {})
    return Delivery(
        body=record["body"],
        message_id=record["messageId"],
        receipt=record["receiptHandle"],
        receive_count=int(system.get("ApproximateReceiveCount", "1")),
        attributes={name: value.get("stringValue") or "" for name, value in named.items()},
        sent_at=_seconds(system.get("SentTimestamp")),
        first_received_at=_seconds(system.get("ApproximateFirstReceiveTimestamp")),
        tenant=system.get(_GROUP, ""),
    )


def _delivery(message: MessageTypeDef) -> Delivery:
    system: Mapping[str, str] = message.get("Attributes", {})  # type: ignore[assignment]  # its keys are text
    named = message.get("MessageAttributes", {})
    return Delivery(
        body=message["Body"],
        message_id=message["MessageId"],
        receipt=message["ReceiptHandle"],
        receive_count=int(system.get("ApproximateReceiveCount", "1")),
        attributes={name: value.get("StringValue", "") for name, value in named.items()},
        sent_at=_seconds(system.get("SentTimestamp")),
        first_received_at=_seconds(system.get("ApproximateFirstReceiveTimestamp")),
        tenant=system.get(_GROUP, ""),
    )


def _seconds(milliseconds: str | None) -> float | None:
    return None if milliseconds is None else int(milliseconds) / 1000


def _entry(message: Message) -> dict[str, Any]:
    entry: dict[str, Any] = {"MessageBody": message.body}
    if message.tenant:
        entry[_GROUP] = message.tenant
    if message.delay_s:
        entry["DelaySeconds"] = min(message.delay_s, SQS_DELAY_S_MAX)
    if message.attributes:
        entry["MessageAttributes"] = {
            name: {"DataType": "String", "StringValue": value}
            for name, value in message.attributes.items()
        }
    return entry


@contextmanager
def _unless_lapsed() -> Iterator[None]:
    """A delivery that is in flight no more is another's to work on: nothing is left to do here."""
    try:
        yield
    except ClientError as error:
        code, message = error_code(error), str(error)
        if code not in _LAPSED and not (code == _INVALID_PARAMETER and "ReceiptHandle" in message):
            raise


def _named() -> AbstractContextManager[None]:
    return translated(QueueUnavailableError, "the queue")
