"""What alarms and dashboards look at is what requests write."""

from __future__ import annotations

import time
from types import SimpleNamespace

import orjson
import pytest

from shared.telemetry import RequestFacts, Telemetry
from stacks.parts.metrics import ModelMetrics
from stacks.stages import STAGES

CONTEXT = SimpleNamespace(
    function_name="f", memory_limit_in_mb=1769, invoked_function_arn="arn", aws_request_id="i"
)


@pytest.fixture
def line(capsys):
    telemetry = Telemetry(service="test-watched", stage="prod", pool="shared")
    facts = RequestFacts("r", time.perf_counter_ns(), model="scale", version="2", model_ms=1.0)
    capsys.readouterr()
    telemetry.request(facts, CONTEXT)
    return orjson.loads(capsys.readouterr().out)


def watched():
    metrics = ModelMetrics(stage=STAGES["prod"], pool="shared", model="scale")
    used = metrics.error_percent.using_metrics
    return {
        "requests": metrics.requests,
        "cold_starts": metrics.cold_starts,
        "latency": metrics.latency_ms("p99"),
        **{f"errors {name}": metric for name, metric in used.items()},
    }


@pytest.mark.parametrize("name", watched())
def test_a_watched_metric_is_written_with_these_dimensions(line, name):
    metric = watched()[name]
    [directive] = line["_aws"]["CloudWatchMetrics"]
    assert metric.namespace == directive["Namespace"]
    assert metric.metric_name in {item["Name"] for item in directive["Metrics"]}
    assert set(metric.dimensions) in [set(names) for names in directive["Dimensions"]]
    assert metric.dimensions == {key: line[key] for key in metric.dimensions}
