"""The `laneway` command: which subcommands there are, and how a failure is told.

A subcommand's module is imported when it is called; `laneway --help` reads only the table below.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_group

from cli.output import CommandError, answer, fail

if TYPE_CHECKING:
    from collections.abc import Callable


class Subcommand(NamedTuple):
    """Where a subcommand lives: a typer app or a function in a module of `cli.commands`."""

    module: str
    attribute: str
    summary: str


SUBCOMMANDS: Final = {
    "dev": Subcommand("dev", "dev", "Run the whole service on this machine."),
    "models": Subcommand("models", "app", "Add, inspect, lock and choose models."),
    "profile": Subcommand("profile", "profile", "Measure what a model costs as a function."),
    "infer": Subcommand("infer", "infer", "Run a model on a file's input and show the answer."),
    "submit": Subcommand("submit", "submit", "Have a model run on a file's input later."),
    "jobs": Subcommand("jobs", "app", "List jobs, show one, retry a failed one."),
    "wait": Subcommand("job", "wait", "Wait until a job has ended."),
    "result": Subcommand("job", "result", "Show what a job answered."),
    "cancel": Subcommand("job", "cancel", "Cancel a job."),
    "batches": Subcommand("batches", "app", "Run a model over a file of lines."),
    "dlq": Subcommand("dlq", "app", "List, show and redrive dead letters."),
    "keys": Subcommand("keys", "app", "Create, list and revoke API keys of a stage."),
    "tenants": Subcommand("tenants", "app", "List, show and set the limits of tenants."),
    "audit": Subcommand("audit", "audit", "Show who did what: calls, jobs, keys, deployments."),
    "webhooks": Subcommand("webhooks", "app", "Sign the webhooks that a stage sends."),
    "erase": Subcommand("erase", "erase", "Remove all that a stage keeps of a tenant."),
    "docs": Subcommand("docs", "docs", "Serve the API's description and a page to try it."),
}


class LazyGroup(TyperGroup):
    """Imports a subcommand when it is called, and ends every expected failure with one message."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command to run: the placeholder that help shows gives way to the real one."""
        name, command, rest = super().resolve_command(ctx, args)
        if name in SUBCOMMANDS:
            command = load(str(name))
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command; exit code 1 and one line for a failure that a user can act on."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            if os.environ.get("LANEWAY_DEBUG") == "1" or not is_expected(error):
                raise
            fail(str(error))
            raise typer.Exit(1) from error


def load(name: str) -> Any:
    """The real command behind a name of `SUBCOMMANDS`."""
    entry = SUBCOMMANDS[name]
    found = getattr(import_module(f"cli.commands.{entry.module}"), entry.attribute)
    host = typer.Typer(add_completion=False)
    if isinstance(found, typer.Typer):
        host.add_typer(found, name=name, help=entry.summary)
    else:
        host.command(name)(found)
    return get_group(host).commands[name]


def is_expected(error: Exception) -> bool:
    """Whether the error carries a message for the user, rather than being a defect of ours."""
    from cli.client import ClientError
    from shared.errors import LanewayError
    from shared.repository import RepositoryError
    from shared.settings import SettingError

    return isinstance(
        error, LanewayError | RepositoryError | SettingError | ClientError | CommandError
    )


def version() -> None:
    """Print the version of Laneway."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        answer(f"laneway {installed('laneway')}")
    except PackageNotFoundError:
        raise CommandError("laneway is not installed here; run `make setup`") from None


def _placeholder(summary: str) -> Callable[[], None]:
    def command() -> None:
        raise NotImplementedError

    command.__doc__ = summary
    return command


def _build() -> typer.Typer:
    built = typer.Typer(
        name="laneway",
        help="Serverless-first inference for ONNX models on AWS.",
        cls=LazyGroup,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    for name, entry in SUBCOMMANDS.items():
        if find_spec(f"cli.commands.{entry.module}") is not None:
            built.command(name)(_placeholder(entry.summary))
    built.command("version")(version)
    return built


app = _build()
