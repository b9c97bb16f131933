"""The Queue protocol: what every broker gives, in the words of none of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message to be sent."""

    body: str
    """ASCII: JSON with everything else escaped, because no broker may meet an illegal character."""
    tenant: str
    """The broker is fair between tenants where it can be."""
    delay_s: int = 0
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message as it was received."""

    body: str
    message_id: str
    """The broker's id, the same in every redelivery."""
    receipt: str
    """What this delivery is acknowledged by."""
    receive_count: int = 1
    attributes: Mapping[str, str] = field(default_factory=dict)
    sent_at: float | None = None
    """Epoch seconds, where the broker says."""
    first_received_at: float | None = None
    """Epoch seconds of the first delivery, where the broker says."""
    tenant: str = ""
    """Whom the sender gave as its tenant; only good for fairness, never for identity."""


class Queue(Protocol):
    """One queue. Delivery is at least once, in no order.

    What is done to a delivery that has lapsed meanwhile is done to nothing, and is no error: the
    job's fence guards the work, the queue only carries it.

    Raises `QueueUnavailableError` when the broker cannot be reached or does not confirm.
    """

    def send(
        self,
        body: str,
        *,
        tenant: str,
        delay_s: int = 0,
        attributes: Mapping[str, str] | None = None,
    ) -> str:
        """Put a message on the queue; returns the broker's id once the broker has confirmed it.

        Raises `TooLargeError` for more than `SQS_MESSAGE_BYTES` of body and attributes, and
        `ValueError` for a body that is not printable ASCII.
        """

    def send_many(self, messages: Sequence[Message]) -> Sequence[str | None]:
        """Put many messages on the queue in few calls; None for each that was not confirmed.

        Raises `TooLargeError` and `ValueError` as `send` does, before anything is sent, and no
        `QueueUnavailableError`: then nothing is confirmed.
        """

    def receive(self, *, limit: int, wait_s: float) -> Sequence[Delivery]:
        """Up to `limit` messages, invisible to others until acknowledged, handed back or lapsed."""

    def acknowledge(self, delivery: Delivery) -> None:
        """Remove a message whose work is done."""

    def acknowledge_many(self, deliveries: Sequence[Delivery]) -> None:
        """Remove many messages in few calls; one that the broker does not remove comes again."""

    def hand_back(self, delivery: Delivery, *, delay_s: float = 0) -> None:
        """Make a message visible again after `delay_s`; SQS takes the next whole second."""

    def hand_back_many(self, deliveries: Sequence[Delivery], *, delays_s: Sequence[float]) -> None:
        """Make many messages visible again, each after its own time, in few calls.

        One that the broker does not take comes again when it lapses.
        """

    def extend(self, delivery: Delivery, *, visibility_s: int) -> None:
        """Keep a message invisible for so long from now."""

    def bury(self, delivery: Delivery, *, reason: str) -> None:
        """Move a message that can never be worked on to the dead-letter queue, with the reason."""

    def stop_receiving(self) -> None:
        """Before this process ends: others may have at once what was given to it ahead.

        For good. Deliveries that were received stay held, and can be settled.
        """

    def depth(self) -> int:
        """Messages visible, delayed and in flight; approximate."""
