"""The local service's own RabbitMQ, where jobs are to be carried by one, and the secret that names it.

The stacks know the secret alone, as on AWS; so they stay the same from one start to the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cli.dev.failures import DevError
from cli.dev.rabbitmq import PrivateBroker, is_installed

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable

    from mypy_boto3_secretsmanager import SecretsManagerClient

    from cli.dev.state import State
    from cli.dev.terminal import Terminal

SECRET: Final = "laneway-local-broker"  # noqa: S105 - its name


def require_installed() -> None:
    """DevError where there is no RabbitMQ to start, with the way out."""
    if not is_installed():
        raise DevError(
            "RabbitMQ is not installed here. On Debian or Ubuntu: "
            "sudo apt-get install rabbitmq-server (its own service is not needed and may be "
            "stopped), or start with SQS: make dev"
        )


def start_broker(state: State, terminal: Terminal, cleanup: contextlib.ExitStack) -> PrivateBroker:
    """A broker on ports of its own, stopped and forgotten with the service."""
    with terminal.step("RabbitMQ"):
        broker = PrivateBroker(state.scratch("rabbitmq"))
        try:
            cleanup.enter_context(broker)
        except RuntimeError as error:
            raise DevError(str(error)) from error
    return broker


def tend(broker: PrivateBroker, show: Callable[[str], None]) -> None:
    """Say that the broker has ended, and start it again; DevError where it does not start."""
    if not broker.ended:
        return
    show(
        "✗ RabbitMQ has ended. Jobs are still accepted, and are sent once it is back; "
        "starting it again on its data"
    )
    try:
        broker.revive()
    except RuntimeError as error:
        raise DevError(
            f"{error}\n\nWithout it no job runs. Start the service anew, or with SQS: make dev"
        ) from error
    show("✓ RabbitMQ is back; workers connect to it by themselves")


def tell_functions(client: SecretsManagerClient, broker: PrivateBroker) -> None:
    """Put the broker's URL where the functions read it."""
    client.create_secret(Name=SECRET, SecretString=broker.url)
