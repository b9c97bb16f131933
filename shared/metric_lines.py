"""One JSON line of the log that holds metrics too, in CloudWatch's embedded metric format."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import orjson

from shared.telemetry import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.lines import LineForm

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
    form: LineForm, message: str, fields: Mapping[str, Any], directive: Any | None
) -> None:
    """Write a line at every log level, because the metrics are in it; `directive` None: there are none."""
    now_s = time.time()
    form.tell(message, now_s, with_metrics(fields, directive, now_s))


def with_metrics(
    fields: Mapping[str, Any], directive: Any | None, now_s: float
) -> Mapping[str, Any]:
    """The fields, and what tells CloudWatch of those that are metrics."""
    if directive is None:
        return fields
    told = {"Timestamp": int(now_s * 1000), "CloudWatchMetrics": directive}
    return {**fields, "_aws": told}
