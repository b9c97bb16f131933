"""A RabbitMQ of one's own for tests, the same that `laneway dev --broker rabbitmq` starts."""

from __future__ import annotations

from cli.dev.rabbitmq import PrivateBroker, is_installed

__all__ = ["PrivateBroker", "is_installed"]
