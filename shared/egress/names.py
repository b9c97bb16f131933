"""What a host's name resolves to, within a time."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Thread

Resolver = Callable[[str, int], Sequence[str]]
"""Gives the addresses of a host and port; raises `OSError` where there are none."""


def system_resolve(host: str, port: int) -> list[str]:
    """The addresses that the system's resolver knows."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [str(address[0]) for *_, address in found]


def resolve_by(deadline: float, resolve: Resolver, host: str, port: int) -> Sequence[str]:
    """What `resolve` gives before `deadline` (of `time.monotonic`), else `TimeoutError`.

    `getaddrinfo` has no timeout: one that hangs is left behind in its thread.
    """
    answers: SimpleQueue[Sequence[str] | Exception] = SimpleQueue()

    def ask() -> None:
        try:
            answers.put(resolve(host, port))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    Thread(target=ask, name="resolve", daemon=True).start()
    try:
        answer = answers.get(timeout=max(0.0, deadline - time.monotonic()))
    except Empty:
        raise TimeoutError("the name was not resolved in time") from None
    if isinstance(answer, Exception):
        raise answer
    return answer
