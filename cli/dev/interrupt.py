"""Turns the signals that ask the service to stop into an exception, once."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.dev.terminal import Terminal


class Stopped(BaseException):
    """Somebody asked the service to stop."""


@contextlib.contextmanager
def interruptible(terminal: Terminal) -> Iterator[None]:
    """Signals end the block, once: while everything is being stopped further ones are ignored."""
    asked = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop(_number: int, _frame: object) -> None:
        for number in asked:
            signal.signal(number, signal.SIG_IGN)
        raise Stopped

    for number in asked:
        signal.signal(number, stop)
    try:
        yield
    except Stopped:
        terminal.line("· stopping", style="dim")
    finally:
        for number in asked:
            signal.signal(number, signal.SIG_IGN)
