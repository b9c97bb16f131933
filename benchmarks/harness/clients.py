"""Clients of a server under measurement: so many requests at once, each followed by the next."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

_PAUSE_S = 0.05
_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Asked:
    """`answers()`: how many were good so far."""

    answers: Callable[[], int]


@contextlib.contextmanager
def keep_asking(port: int, path: str, body: bytes, *, clients: int) -> Iterator[Asked]:
    """`clients` threads that post `body` again and again, from when the server answers; JSON both ways."""
    stop, counts = threading.Event(), [0] * clients
    threads = [
        threading.Thread(
            target=partial(_ask, port, path, body, stop=stop, counts=counts, number=number),
            daemon=True,
        )
        for number in range(clients)
    ]
    for thread in threads:
        thread.start()
    try:
        yield Asked(lambda: sum(counts))
    finally:
        stop.set()
        for thread in threads:
            thread.join(_TIMEOUT_S)


def _ask(
    port: int, path: str, body: bytes, *, stop: threading.Event, counts: list[int], number: int
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    while not stop.is_set():
        try:
            connection.request("POST", path, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            counts[number] += answer.status == http.client.OK
        except (OSError, http.client.HTTPException):  # it does not listen yet
            connection.close()
            time.sleep(_PAUSE_S)
