"""How a log line is written: the Powertools Logger with a short path for lines that are complete.

A record with a member `fields` is one line of exactly these, beside level, message, time and service;
any other record is formatted by Powertools. What is told stands in `shared.telemetry`.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final, TextIO

import orjson

from shared.lines import LineForm

# Powertools imports botocore where it finds it, only to put its own name into the User-Agent of AWS
# calls (aws_lambda_powertools/shared/user_agent.py, 3.37.0), and does without where it does not.
# Lambda's runtime has botocore, and the realtime function makes no AWS call.
_HIDDEN: Final = "botocore" not in sys.modules
if _HIDDEN:
    sys.modules["botocore"] = None  # type: ignore[assignment]  # what makes an import fail, by the language's reference
try:
    from aws_lambda_powertools import Logger
    from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter
finally:
    if _HIDDEN:
        del sys.modules["botocore"]


def make_logger(service: str, level: str) -> Logger:
    """The logger of one function, whose lines go to stdout."""
    formatter, handler = _Formatter(service=service), _StdoutHandler()
    handler.setFormatter(formatter)  # Powertools does not, where the service has a logger already
    logger = Logger(
        service=service, level=level, logger_formatter=formatter, logger_handler=handler
    )
    logging.getLogger(
        service
    ).propagate = False  # Lambda's root handler would filter every line out
    return logger


class _StdoutHandler(logging.StreamHandler[TextIO]):
    """Writes to the stdout of the moment: Lambda and pytest both replace it after the import."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # an attribute of the base class, which never sets it then
        return sys.stdout


class _Formatter(LambdaPowertoolsFormatter):
    """Powertools' formatter with a short path for the request's line, whose members are complete."""

    def __init__(self, *, service: str) -> None:
        super().__init__(
            json_serializer=_to_json,
            serialize_stacktrace=False,  # it would hold the exception's message
            service=service,
        )
        self._form = LineForm(service)

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", None)
        if fields is None:
            return super().format(record)
        return self._form.line(record.levelname, record.msg, record.created, fields)


def _to_json(line: Any) -> str:
    return orjson.dumps(line, default=str).decode()
