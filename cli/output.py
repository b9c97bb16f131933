"""How commands speak to people: answers on stdout, everything about them on stderr, colour on a terminal.

`CommandError` is the failure of a command that no other error tree describes.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console


class CommandError(Exception):
    """A command cannot do what was asked; the message says why and the way out."""


def console(*, stderr: bool = False) -> Console:
    """A console on the streams as they are now; 120 columns where there is no terminal."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else int(os.environ.get("COLUMNS", "120"))
    return Console(file=stream, width=width, highlight=False, soft_wrap=False)


def say(message: str) -> None:
    """A line about what happened, on stderr, so that stdout can be piped on."""
    print(message, file=sys.stderr, flush=True)  # noqa: T201  the terminal is this module's job


def answer(text: str) -> None:
    """A line of the answer, on stdout, exactly as it is."""
    print(text, flush=True)  # noqa: T201  the terminal is this module's job


def answer_json(value: Any) -> None:
    """An answer for programs: JSON on stdout."""
    answer(json.dumps(value, indent=2, default=str))


def answer_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, whole: Sequence[str] = ()
) -> None:
    """An answer for people: a table whose cells are folded, never cut; those of `whole` not even that."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in whole)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console().print(table)


def fail(message: str) -> None:
    """The one message of a command that failed, on stderr."""
    from rich.text import Text

    console(stderr=True).print(
        Text("error: ", style="bold red"), Text(message), sep="", soft_wrap=True
    )
