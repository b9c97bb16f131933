"""The form of a log line: JSON with the field names of the Powertools Logger, made without loading it.

Powertools costs a cold start a fifth of its imports, so it is loaded where something is told that is not
complete by itself: `shared.log_lines`.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class LineForm:
    """Makes the lines of one service."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._second = -1
        self._time_form = ""

    def line(self, level: str, message: str, created_s: float, fields: Mapping[str, Any]) -> str:
        """Level, message, time and service, then exactly `fields`; `created_s`: seconds since 1970."""
        line = {
            "level": level,
            "message": message,
            "timestamp": self._timestamp(created_s),
            "service": self._service,
            **fields,
        }
        trace_id = os.environ.get("_X_AMZN_TRACE_ID")
        if trace_id:
            line["xray_trace_id"] = trace_id.split(";")[0].removeprefix("Root=")
        return orjson.dumps(line).decode()

    def tell(self, message: str, created_s: float, fields: Mapping[str, Any]) -> None:
        """Write a line to the stdout of the moment: Lambda and pytest both replace it after the import."""
        stdout = sys.stdout
        stdout.write(self.line("INFO", message, created_s, fields) + "\n")
        stdout.flush()

    def tell_all(self, message: str, created_s: float, lines: Iterable[Mapping[str, Any]]) -> None:
        """As `tell` for each, by one call to the operating system."""
        text = "".join([self.line("INFO", message, created_s, fields) + "\n" for fields in lines])
        if text:
            sys.stdout.write(text)
            sys.stdout.flush()

    def _timestamp(self, created_s: float) -> str:
        """As Powertools writes it; the text of the second is kept, as strftime is slow."""
        second = int(created_s)
        if second != self._second:
            self._second = second
            self._time_form = time.strftime("%Y-%m-%d %H:%M:%S,%%03d%z", time.localtime(second))
        return self._time_form % ((created_s - second) * 1000)
