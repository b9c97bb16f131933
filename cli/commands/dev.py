"""`laneway dev`: the whole service on this machine, in the foreground, until Ctrl-C."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.output import console

DEFAULT_PORT = 4566
PROJECT = Path(__file__).parents[2]
"""The checkout: the stacks, the functions and their environments are in it."""


class Broker(StrEnum):
    """What carries jobs."""

    SQS = "sqs"
    RABBITMQ = "rabbitmq"


def dev(
    models: Annotated[Path, typer.Option(help="The folder of models to serve.")] = Path("models"),
    port: Annotated[
        int, typer.Option(envvar="LANEWAY_PORT", min=1, max=65535, help="On 127.0.0.1.")
    ] = DEFAULT_PORT,
    state: Annotated[
        Path, typer.Option(help="Where the running service is described; one service per folder.")
    ] = PROJECT / ".laneway",
    broker: Annotated[
        Broker,
        typer.Option(help="What carries jobs; a private RabbitMQ is started for `rabbitmq`."),
    ] = Broker.SQS,
    webhook_ca_file: Annotated[
        Path | None,
        typer.Option(
            envvar="LANEWAY_WEBHOOK_CA_FILE",
            exists=True,
            dir_okay=False,
            help="Certificates that receivers of webhooks on this machine show.",
        ),
    ] = None,
) -> None:
    """Run the whole service on this machine."""
    from cli.dev.deploy import Target
    from cli.dev.service import serve
    from cli.dev.state import State
    from cli.dev.terminal import Terminal

    target = Target(
        project=PROJECT,
        models=models.resolve(),
        state=State(state.resolve()),
        port=port,
        broker=broker.value,
        webhook_ca_file=webhook_ca_file and webhook_ca_file.resolve(),
    )
    serve(target, Terminal(console()))
