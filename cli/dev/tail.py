"""Follows log files of the service's own processes and tells each line in words, as `logs` does."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from cli.dev.logs import render

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rich.text import Text

POLL_S: Final = 0.3


class Tails:
    """Calls `show` with every whole line that files get, from a thread, until it is stopped."""

    def __init__(self, show: Callable[[Text], None]) -> None:
        self._show = show
        self._files: dict[Path, _Tail] = {}
        self._reading = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tails", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def follow(self, path: Path, who: str) -> None:
        """Read this file from its beginning; `who` writes it."""
        with self._reading:
            self._files[path] = _Tail(path, who)

    def drop(self, path: Path) -> None:
        """Show the rest of a file that is about to be written anew."""
        with self._reading:
            tail = self._files.pop(path, None)
            if tail is not None:
                self._tell(tail)

    def stop(self) -> None:
        """Show the rest of every file, and read no more."""
        self._stop.set()
        self._thread.join(timeout=5.0)
        self._read()

    def _run(self) -> None:
        while not self._stop.wait(POLL_S):
            self._read()

    def _read(self) -> None:
        with self._reading:
            for tail in self._files.values():
                self._tell(tail)

    def _tell(self, tail: _Tail) -> None:
        for text in tail.new_lines():
            line = render(int(time.time() * 1000), tail.who, text)
            if line is not None:
                self._show(line)


class _Tail:
    """How far a file was read."""

    def __init__(self, path: Path, who: str) -> None:
        self.who = who
        self._path = path
        self._read_bytes = 0

    def new_lines(self) -> list[str]:
        """The whole lines that were written since they were asked for last."""
        with self._path.open("rb") as file:
            file.seek(self._read_bytes)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        return whole.decode(errors="replace").splitlines()
