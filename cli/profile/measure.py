"""Profiles one model: rounds of fresh processes, each number the median of its rounds."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from math import ceil
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from cli.profile import processes
from cli.profile.advice import Requests, needed_mib
from shared.limits import LAMBDA_MEMORY_MIB_PER_VCPU as ONE_VCPU_MIB
from shared.principal import DEFAULT_TENANT, INFER, Principal, write_verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cli.profile.processes import ColdStart, Target

SERVE_S: Final = 1.0
"""How long each process answers requests."""
STAGES: Final = (
    "interpreter", "catalog", "numpy", "onnxruntime", "laneway",
    "fetch", "digest", "session", "transform", "first request",
)  # fmt: skip
"""Of a process's life, in order. Fetching and hashing begin with the catalog: `fetch`, which a model of the package
has not, and `digest` are what they take beyond the imports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What was measured; times in milliseconds, memory in MiB."""

    stages_ms: dict[str, float]
    start: ColdStart | None
    """Through AWS's runtime client; None where it is not installed."""
    imported_mib: float
    loaded_mib: float
    peak_mib: float
    requests: Sequence[Requests]

    @property
    def start_ms(self) -> float:
        """From spawning a process to its first answer."""
        return self.start.answered_ms if self.start else sum(self.stages_ms.values())


def profile(
    target: Target,
    *,
    threads: Sequence[int],
    rounds: int,
    told: Callable[[str], None],
) -> Profile:
    """`threads`: the first of them is that of the stages; `told` hears what is being done."""
    plain: dict[int, list[dict[str, Any]]] = {count: [] for count in threads}
    starts: list[ColdStart] = []
    for number in range(1, rounds + 1):
        told(f"round {number} of {rounds}")
        for count in threads:
            plain[count].append(processes.live(target, threads=count, seconds=SERVE_S))
        if processes.has_runtime_client():
            peak_mib = plain[threads[0]][0]["peak_mib"]
            starts.append(_cold(target, memory_mib=max(ONE_VCPU_MIB, ceil(needed_mib(peak_mib)))))
    first = plain[threads[0]]
    return Profile(
        stages_ms={
            stage: median(run["stages_ms"][stage] for run in first)
            for stage in STAGES
            if stage in first[0]["stages_ms"]
        },
        start=_median_start(starts),
        imported_mib=median(run["imported_mib"] for run in first),
        loaded_mib=median(run["loaded_mib"] for run in first),
        peak_mib=max(run["peak_mib"] for run in first),
        requests=[_requests(count, runs) for count, runs in plain.items()],
    )


def default_threads() -> list[int]:
    """One, and two where this machine has them."""
    return [1, 2] if (os.cpu_count() or 1) > 1 else [1]


def event_of(target: Target) -> bytes:
    """The gateway's event that asks the model its request."""
    path = f"/v2/models/{target.model}/versions/{target.version}/infer"
    route = f"/v2/models/{target.model}/versions/{{version}}/infer"
    verdict = write_verdict(Principal(DEFAULT_TENANT, "key:profile", frozenset({INFER})))
    http = {"method": "POST", "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1"}
    event = {
        "version": "2.0",
        "routeKey": f"POST {route}",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json"},
        "requestContext": {
            "authorizer": {"lambda": verdict},
            "http": http,
            "requestId": "profile",
            "routeKey": f"POST {route}",
            "stage": "$default",
            "timeEpoch": 0,
        },
        "pathParameters": {"version": target.version},
        "body": target.request.read_text(),
        "isBase64Encoded": False,
    }
    return json.dumps(event).encode()


def _cold(target: Target, *, memory_mib: int) -> ColdStart:
    return processes.cold_start(target, event_of(target), memory_mib=memory_mib)


def _median_start(starts: Sequence[ColdStart]) -> ColdStart | None:
    if not starts:
        return None
    return replace(
        starts[0],
        init_ms=median(start.init_ms for start in starts),
        answered_ms=median(start.answered_ms for start in starts),
    )


def _requests(threads: int, runs: Sequence[dict[str, Any]]) -> Requests:
    parts = runs[0]["parts_ms"]
    return Requests(
        threads=threads,
        parts_ms={part: median(run["parts_ms"][part] for run in runs) for part in parts},
        p50_ms=median(run["p50_ms"] for run in runs),
        p99_ms=median(run["p99_ms"] for run in runs),
        cpu_ms=median(run["cpu_ms"] for run in runs),
    )
