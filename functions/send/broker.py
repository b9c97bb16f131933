"""The broker as a function has it: connected by the first call, kept warm, never used when it is stale.

Between calls the environment is frozen, and no heartbeat is sent. A connection that rested longer than
the broker waits for one is not tried: it may look open and be dead. The secret is read again after a
failure, so that a rotated one is found.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from shared.queues.rabbitmq import AmqpSettings, RabbitBroker
from shared.queues.rabbitmq.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_secretsmanager import SecretsManagerClient

    from shared.settings.jobs import SendSettings

HEARTBEAT_S: Final = 60
REST_S_MAX: Final = 45.0


class WarmBroker:
    """Gives the broker to one call at a time."""

    def __init__(
        self,
        settings: SendSettings,
        *,
        connect_secrets: Callable[[], SecretsManagerClient],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._connect_secrets = connect_secrets
        self._clock = clock
        self._broker: RabbitBroker | None = None
        self._amqp: AmqpSettings | None = None
        self._used_at = clock()

    def take(self) -> RabbitBroker:
        """The broker, perhaps not reached yet. Raises `QueueUnavailableError` without its secret."""
        if self._broker is not None and self._clock() - self._used_at > REST_S_MAX:
            self.close()
        if self._broker is None:
            self._broker = RabbitBroker(self._read())
        self._used_at = self._clock()
        return self._broker

    def used(self, *, reached: bool) -> None:
        """The call is over; a broker that was not reached is connected to anew, from its secret."""
        self._used_at = self._clock()
        if not reached:
            self.close()
            self._amqp = None

    def close(self, timeout_s: float = 0) -> None:
        """Let go of the connection; the next call makes another."""
        broker, self._broker = self._broker, None
        if broker is not None:
            broker.close(timeout_s)

    def _read(self) -> AmqpSettings:
        if self._amqp is None:
            settings = self._settings
            found = AmqpSettings(url=settings.amqp_url) if not settings.amqp_secret else self._ask()
            self._amqp = replace(
                found,
                name=f"laneway-{settings.stage}-send",
                heartbeat_s=HEARTBEAT_S,
                confirm_timeout_s=settings.confirm_timeout_s,
                connect_timeout_s=settings.confirm_timeout_s,
                ca_file=settings.amqp_ca_file or None,
            )
        return self._amqp

    def _ask(self) -> AmqpSettings:
        secrets = self._connect_secrets()
        return read_settings(secrets, self._settings.amqp_secret, url=self._settings.amqp_url)
