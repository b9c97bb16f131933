"""The life of one function process, stage by stage; run by path in a fresh interpreter, never imported.

Arguments: a pipe to report to, when the process was started (monotonic ns), the package's two folders
separated by a colon, the model, its version, intra-op threads, the request's JSON (a file), seconds for
requests. As the function does, it begins to fetch and hash the model's files before it imports numpy.
"""

from __future__ import annotations

import sys
import time

entered_ns = time.monotonic_ns()
pipe, started_ns, folders, name, wanted, threads, request_file, seconds = sys.argv[1:]
sys.path[:0] = folders.split(":")
clock_ns = time.perf_counter_ns
stages_ms = {"interpreter": (entered_ns - int(started_ns)) / 1e6}


def passed(stage: str, since_ns: int) -> int:
    """Note a stage that has just ended; gives the time at which the next one begins."""
    stages_ms[stage] = (clock_ns() - since_ns) / 1e6
    return clock_ns()


at = clock_ns()
import os
from pathlib import Path

from shared.artifacts.opened import open_files
from shared.catalog import load_catalog
from shared.inference.verifying import verify_files

root = Path(folders.split(":")[0])
catalog = load_catalog(root / "catalog.json")
model, version = catalog.find(name, wanted or None)
bucket = os.environ["MODELS_BUCKET"]
files = open_files(root, catalog, bucket=bucket, env=os.environ, first=[version])
at = passed("catalog", at)
import numpy  # noqa: F401  its import is what is timed

at = passed("numpy", at)
import onnxruntime  # noqa: F401  as numpy

at = passed("onnxruntime", at)
import functions.realtime.service  # noqa: F401  as numpy
from shared.schema.compiled import load_validators

validate = load_validators(catalog.validators).inference_request
at = passed("laneway", at)

import marshal
from itertools import pairwise
from statistics import median, quantiles

from shared.inference.encoder import encode
from shared.inference.pipeline import ServedModel
from shared.inference.session import ModelSession, open_session, session_options
from shared.inference.transform import load_transform
from shared.schema.wire import parse_json

FOREVER_S = 3600.0
PARTS = ("parse", "prepare", "run", "answer")
REQUESTS_MIN = 20
body = Path(request_file).read_bytes()


def memory_mib(member: str) -> float:
    """A member of this process's status: `VmRSS` now, `VmHWM` at its highest."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(member))


def report(**told: object) -> None:
    """The process's only word."""
    with os.fdopen(int(pipe), "wb") as stream:
        marshal.dump(told, stream)


def load() -> ServedModel:
    """The model, as the function makes it, each step timed."""
    at = clock_ns()
    folder = files.folder_of(version)
    if version.fetched:
        at = passed("fetch", at)
    verify_files(folder, version, files.sha256_of)
    at = passed("digest", at)
    memory["imported_mib"] = memory_mib("VmRSS")  # what was hashed is mapped no more
    options = session_options(model.session, threads=int(threads), form=version.form)
    session = open_session(folder / version.loaded[0].path, options)
    at = passed("session", at)
    transform = model.transform and load_transform(root / model.transform, model=model.name)
    passed("transform", at)
    made = ModelSession(version, session, fed_by_caller=transform is None)
    return ServedModel(model, version, made, transform=transform or None)


def answer(served: ServedModel) -> list[int]:
    """Nanoseconds of each of `PARTS`."""
    times = [clock_ns()]
    asked = validate(parse_json(body))
    times.append(clock_ns())
    prepared = served.prepare(asked)
    times.append(clock_ns())
    results = served.session.run(prepared.feeds, prepared.fetch, time.monotonic() + FOREVER_S)
    times.append(clock_ns())
    encode(served.finish(prepared, results))
    times.append(clock_ns())
    return [end - begin for begin, end in pairwise(times)]


def serve(served: ServedModel) -> dict[str, object]:
    """Requests for the seconds that were given: medians of their parts, quantiles of their whole."""
    rows: list[list[int]] = []
    cpu_s, until_s = time.process_time(), time.monotonic() + float(seconds)
    while len(rows) < REQUESTS_MIN or time.monotonic() < until_s:
        rows.append(answer(served))
    cpu_s = time.process_time() - cpu_s
    whole = quantiles([sum(row) / 1e6 for row in rows], n=100)
    parts = dict(
        zip(PARTS, (median(column) / 1e6 for column in zip(*rows, strict=True)), strict=True)
    )
    return {
        "parts_ms": parts,
        "p50_ms": whole[49],
        "p99_ms": whole[98],
        "cpu_ms": cpu_s / len(rows) * 1000,
        "requests": len(rows),
    }


memory: dict[str, float] = {}
served = load()
memory["loaded_mib"] = memory_mib("VmRSS")
at = clock_ns()
answer(served)
passed("first request", at)
warm = serve(served)
report(
    stages_ms=stages_ms,
    **memory,
    peak_mib=memory_mib("VmHWM"),
    **warm,
)
