"""The form of a log line: JSON with the field names of the Powertools Logger, made without loading it.

Powertools costs a cold start a fifth of its imports, so it is loaded where something is told that is not
complete by itself: `shared.log_lines`.
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_OPENINGS_MAX: Final = 64
"""How many of level and message are kept; a service's own are few."""


class LineForm:
    """Makes the lines of one service."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._second = -1
        self._time_form = b""
        self._openings: dict[tuple[str, str], bytes] = {}
        self._stdout: Any = None
        self._write: Callable[[bytes], object] = _by_text(None)

    def line(self, level: str, message: str, created_s: float, fields: Mapping[str, Any]) -> str:
        """Level, message, service and time, then exactly `fields`; `created_s`: seconds since 1970."""
        return self._line(level, message, created_s, orjson.dumps(fields)).decode()

    def tell(
        self, message: str, created_s: float, fields: Mapping[str, Any], *, more: bytes = b""
    ) -> None:
        """Write a line to the stdout of the moment: Lambda and pytest both replace it after the import.

        `more`: members that are text already, with a comma before each; for those that are the same in many lines.
        """
        self._send(self._line("INFO", message, created_s, orjson.dumps(fields), more) + b"\n")

    def tell_all(self, message: str, created_s: float, lines: Iterable[Mapping[str, Any]]) -> None:
        """As `tell` for each, by one call to the operating system."""
        text = b"".join(
            [self._line("INFO", message, created_s, orjson.dumps(line)) + b"\n" for line in lines]
        )
        if text:
            self._send(text)

    def _line(
        self, level: str, message: str, created_s: float, members: bytes, more: bytes = b""
    ) -> bytes:
        """`members`: a JSON object."""
        opening = self._openings.get((level, message)) or self._open(level, message)
        trace_id = os.environ.get("_X_AMZN_TRACE_ID")
        if trace_id:
            root = trace_id.split(";")[0].removeprefix("Root=")
            more += b',"xray_trace_id":' + orjson.dumps(root)
        rest = b"," + members[1:] if len(members) > len(b"{}") else b"}"
        return b"".join((opening, self._timestamp(created_s), b'"', more, rest))

    def _open(self, level: str, message: str) -> bytes:
        members = {"level": level, "message": message, "service": self._service}
        opening = orjson.dumps(members)[:-1] + b',"timestamp":"'
        if len(self._openings) < _OPENINGS_MAX:
            self._openings[level, message] = opening
        return opening

    def _send(self, text: bytes) -> None:
        stdout = sys.stdout
        if stdout is not self._stdout:
            self._stdout, self._write = stdout, _writer(stdout)
        self._write(text)

    def _timestamp(self, created_s: float) -> bytes:
        """As Powertools writes it; the text of the second is kept, as strftime is slow."""
        second = int(created_s)
        if second != self._second:
            self._second = second
            form = time.strftime("%Y-%m-%d %H:%M:%S,%%03d%z", time.localtime(second))
            self._time_form = form.encode()
        return self._time_form % int((created_s - second) * 1000)


def _writer(stdout: Any) -> Callable[[bytes], object]:
    """Writes to the file behind `stdout`, or to itself where there is none.

    Its own layers of text and buffers would take four times as long as the call to the operating system.
    """
    try:
        return partial(_write, stdout.fileno())
    except (AttributeError, OSError, ValueError):
        return _by_text(stdout)


def _write(file: int, text: bytes) -> None:
    while text:
        text = text[os.write(file, text) :]


def _by_text(stdout: Any) -> Callable[[bytes], object]:
    def write(text: bytes) -> None:
        stdout.write(text.decode())
        stdout.flush()

    return write
