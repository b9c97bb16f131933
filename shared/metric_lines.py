"""One JSON line of the log that holds metrics too, in CloudWatch's embedded metric format."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import orjson

from shared.telemetry import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Metrics = tuple[tuple[str, str], ...]
"""Names and CloudWatch's units."""


def directive(dimensions: Sequence[Sequence[str]], metrics: Metrics) -> Any:
    """What tells CloudWatch which members of a line are metrics, as JSON already."""
    told = {
        "Namespace": NAMESPACE,
        "Dimensions": dimensions,
        "Metrics": [{"Name": name, "Unit": unit} for name, unit in metrics],
    }
    return orjson.Fragment(orjson.dumps([told]))


def write_line(
    logger: logging.Logger, message: str, fields: Mapping[str, Any], directive: Any | None
) -> None:
    """Write a line at every log level, because the metrics are in it; `directive` None: there are none."""
    record = logging.LogRecord(logger.name, logging.INFO, "", 0, message, None, None)
    metrics = {}
    if directive is not None:
        metrics["_aws"] = {
            "Timestamp": int(record.created * 1000),
            "CloudWatchMetrics": directive,
        }
    record.fields = {**fields, **metrics}
    logger.handle(record)
