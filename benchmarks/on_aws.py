"""Measures a stage that is deployed, from real invocations: nothing is deployed, nothing is changed.

    python -m benchmarks.on_aws --stage dev --model breast-cancer
    python -m benchmarks.on_aws --stage dev --model sentence-embedding --requests 500 --burst 40

Sends the model's golden request over HTTP, one after the other, and then many at once, for which Lambda has to
start environments. What a caller waited is taken here; what the function took, what it was billed and what its
starts took are read from the REPORT lines that Lambda writes. It costs what these calls cost: about a cent.

The endpoint and the key are those of `laneway infer`: LANEWAY_ENDPOINT and LANEWAY_API_KEY; stage `local` is the
service of `make dev`, whose emulator starts nothing and whose times say nothing of Lambda.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import quantiles
from typing import Any

from benchmarks.harness.packages import ROOT
from cli.client import NO_RETRIES, Laneway, StatusError
from cli.client.protocol import Call, model_path
from cli.profile.advice import GB_SECOND_USD, MILLION_CALLS_USD
from cli.stages import LOCAL, aws_client, endpoint
from shared.repository import read_repository
from shared.schema.examples import golden_requests

HTTP_API_MILLION_USD = 1.00
"""An HTTP API's calls, us-east-1, read 2026-11-21."""
REFUSED = (429, 503)
"""What limits answer."""
NO_ENVIRONMENT = 500
"""What the gateway answers where Lambda has none left."""
LOGS_S_MAX = 60.0
"""How long lines may take from a function to its log group."""
_FIELD = re.compile(r"([A-Z][A-Za-z ]+): ([\d.]+) (?:ms|MB)")


@dataclass(frozen=True)
class Report:
    """A REPORT line: milliseconds and MB, as Lambda gives them."""

    duration_ms: float
    billed_ms: float
    memory_mb: float
    peak_mb: float
    init_ms: float | None
    """Of the call that an environment was started for, or restored from a snapshot; None of others."""

    @classmethod
    def read(cls, line: str) -> Report:
        """The line's members. Raises ValueError for a line that is none."""
        found = {name.strip(): float(value) for name, value in _FIELD.findall(line)}
        try:
            return cls(
                duration_ms=found["Duration"],
                billed_ms=found["Billed Duration"],
                memory_mb=found["Memory Size"],
                peak_mb=found["Max Memory Used"],
                init_ms=found.get("Init Duration", found.get("Restore Duration")),
            )
        except KeyError as missing:
            raise ValueError(f"no {missing} in {line!r}") from missing


def main(arguments: Sequence[str] | None = None) -> None:
    """Ask, read, tell."""
    options = _parser().parse_args(arguments)
    entry = read_repository(ROOT / "models").models[options.model]
    body = json.dumps(golden_requests(ROOT / "models")[options.model]).encode()
    call = Call(
        "POST",
        f"{model_path(options.model, None)}/infer",
        {"content-type": "application/json"},
        body,
    )
    began_ms = int(time.time() * 1000)
    target = None if options.stage == LOCAL else endpoint(options.stage, options.region)
    with Laneway(target, iam=options.iam, region=options.region, retry=NO_RETRIES) as client:
        ask(client, call)
        calm_ms = [ask(client, call) for _ in range(options.requests)]
        with ThreadPoolExecutor(options.burst) as threads:
            burst_ms = list(threads.map(lambda _: ask(client, call), range(options.burst)))
    answered = sum(took_ms is not None for took_ms in (*calm_ms, *burst_ms))
    reports = read_reports(
        aws_client("logs", options.stage, options.region),
        group=f"/aws/lambda/laneway-{options.stage}-{entry.spec.pool}-realtime",
        since_ms=began_ms,
        expected=1 + answered,
    )
    print(table(options, calm_ms, burst_ms, reports))  # noqa: T201  a command's answer


def read_reports(logs: Any, *, group: str, since_ms: int, expected: int) -> list[Report]:
    """The REPORT lines since then, once as many are there as calls were made, or none came for long."""
    until_s = time.monotonic() + LOGS_S_MAX
    while True:
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=group, startTime=since_ms, filterPattern="REPORT"
        )
        lines = [event["message"] for page in pages for event in page["events"]]
        reports = [Report.read(line) for line in lines if line.startswith("REPORT ")]
        if len(reports) >= expected or time.monotonic() > until_s:
            return reports
        time.sleep(1)


def table(
    options: argparse.Namespace,
    calm_ms: Sequence[float | None],
    burst_ms: Sequence[float | None],
    reports: Sequence[Report],
) -> str:
    """What was measured, as the tables of docs/performance.md are; None: a call that was refused."""
    starts_ms = [report.init_ms for report in reports if report.init_ms is not None]
    rows = [
        _row("call, as its caller saw it", _answered(calm_ms)),
        _row(f"call, {options.burst} at once", _answered(burst_ms)),
        _row("function", [report.duration_ms for report in reports]),
        _row("start (INIT)", starts_ms),
    ]
    peak_mb = max((report.peak_mb for report in reports), default=0.0)
    sent = 1 + len(calm_ms) + len(burst_ms)
    refused = sent - 1 - len(_answered(calm_ms)) - len(_answered(burst_ms))
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return f"""\
{options.model} on stage {options.stage}, {when}; {len(reports)} REPORT lines of {sent} calls

| | n | p50 ms | p95 ms | p99 ms |
|---|---:|---:|---:|---:|
{chr(10).join(rows)}

refused: {refused} calls, for which no environment was free or a limit was met
memory: {peak_mb:.0f} MB at its highest
cost: {cost_usd(reports):.4f} USD a thousand calls, without logs and warm environments"""


def cost_usd(reports: Sequence[Report]) -> float:
    """USD of a thousand calls: what was billed, the calls, the HTTP API's part."""
    gb_s = [report.billed_ms / 1000 * report.memory_mb / 1024 for report in reports]
    compute = sum(gb_s) / len(gb_s) * GB_SECOND_USD if gb_s else 0.0
    return 1000 * compute + (MILLION_CALLS_USD + HTTP_API_MILLION_USD) / 1000


def ask(client: Laneway, call: Call) -> float | None:
    """Milliseconds until the answer; None where the stage had no room for the call. Raises other ClientErrors."""
    began_s = time.perf_counter()
    try:
        client.send(call)
    except StatusError as error:
        if error.status in REFUSED or (error.from_gateway and error.status == NO_ENVIRONMENT):
            return None
        raise
    return (time.perf_counter() - began_s) * 1000


def _answered(values_ms: Sequence[float | None]) -> list[float]:
    return [value for value in values_ms if value is not None]


def _row(name: str, values_ms: Sequence[float]) -> str:
    if len(values_ms) < 2:
        return f"| {name} | {len(values_ms)} | {values_ms[0] if values_ms else 0:.1f} | - | - |"
    at = quantiles(values_ms, n=100)
    return f"| {name} | {len(values_ms)} | {at[49]:.1f} | {at[94]:.1f} | {at[98]:.1f} |"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.on_aws", description=__doc__)
    parser.add_argument("--stage", default="dev")
    parser.add_argument("--model", default="breast-cancer")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--burst", type=int, default=20, help="calls at the same time")
    parser.add_argument("--region")
    parser.add_argument(
        "--iam", action="store_true", help="sign with the AWS identity of this machine"
    )
    return parser


if __name__ == "__main__":
    main()
