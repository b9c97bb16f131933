"""One line for log and metrics against Powertools' Logger and Metrics, taken in turn in one run.

`python -m pytest tests/performance/test_telemetry_cost.py` prints the figures of the decision page.
"""

from __future__ import annotations

import os
import time
from contextlib import redirect_stdout
from pathlib import Path
from statistics import median, quantiles
from types import SimpleNamespace

import orjson
from aws_lambda_powertools import Logger, Metrics

from shared.telemetry import RequestFacts, Telemetry

CONTEXT = SimpleNamespace(
    function_name="f", memory_limit_in_mb=1769, invoked_function_arn="arn", aws_request_id="i"
)
ROUNDS = 15
CALLS = 300
METRICS = {
    "requests": ("Count", 1),
    "client_errors": ("Count", 0),
    "server_errors": ("Count", 0),
    "cold_starts": ("Count", 0),
    "latency_ms": ("Milliseconds", 1.5),
    "model_ms": ("Milliseconds", 0.5),
    "request_bytes": ("Bytes", 100),
    "response_bytes": ("Bytes", 100),
}


def our_line():
    telemetry = Telemetry(service="cost-ours", stage="dev", pool="shared")

    def write():
        facts = RequestFacts("id", time.perf_counter_ns(), model="m", version="1", model_ms=0.5)
        telemetry.request(facts, CONTEXT)

    return write


def powertools_logger(stream):
    def to_json(line):
        return orjson.dumps(line, default=str).decode()

    logger = Logger(service="cost-logger", stream=stream, json_serializer=to_json)
    logger._logger.propagate = False
    fields = {"request_id": "id", "tenant": "t", "model": "m", "version": "1", "status": 200}
    fields |= {name: value for name, (_, value) in METRICS.items()}
    return lambda: logger.info("request", extra=fields)


def powertools_metrics(stream):
    metrics = Metrics(namespace="Laneway", service="s")

    def write():
        for name, (unit, value) in METRICS.items():
            metrics.add_metric(name=name, unit=unit, value=value)
        metrics.add_dimension(name="stage", value="dev")
        stream.write(f"{orjson.dumps(metrics.serialize_metric_set()).decode()}\n")
        metrics.clear_metrics()

    return write


def microseconds(call):
    started_s = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - started_s) / CALLS * 1e6


def test_the_one_line_costs_less_than_half_of_logger_and_metrics(capsys):
    with Path(os.devnull).open("w") as sink, redirect_stdout(sink):
        ours = our_line()
        logger, metrics = powertools_logger(sink), powertools_metrics(sink)
        rounds = [
            (microseconds(ours), microseconds(logger), microseconds(metrics)) for _ in range(ROUNDS)
        ]
    columns = dict(zip(("one line", "Logger", "Metrics"), zip(*rounds, strict=True), strict=True))
    ratio = median(one / (logger + metrics) for one, logger, metrics in rounds)
    with capsys.disabled():
        for name, values in columns.items():
            low, middle, high = quantiles(values, n=4)
            print(f"\n{name}: {middle:.1f} us (p25 {low:.1f}, p75 {high:.1f})", end="")  # noqa: T201 - the decision page quotes it
        print(f"\none line / (Logger + Metrics): {ratio:.2f}")  # noqa: T201 - as above
    assert ratio < 0.5
