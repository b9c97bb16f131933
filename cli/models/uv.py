"""Runs the project's own uv, which knows where packages come from; no index is named here."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from cli.output import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

UV_TIMEOUT_S = 600
LINES_OF_A_FAILURE = 12


class UvError(CommandError):
    """uv refused; the message ends with its own words."""


def run_uv(arguments: Sequence[str], *, doing: str) -> str:
    """The output of `uv <arguments>`; UvError when it fails, with what was being done."""
    from uv import find_uv_bin

    try:
        done = subprocess.run(
            [find_uv_bin(), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=UV_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise UvError(f"{doing}: uv gave no result within {UV_TIMEOUT_S} s") from error
    if done.returncode != 0:
        words = "\n".join(done.stderr.strip().splitlines()[-LINES_OF_A_FAILURE:])
        raise UvError(f"{doing} failed; uv says:\n{words}")
    return done.stdout
