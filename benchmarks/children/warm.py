"""A warm handler: the same event again and again, in turn with `session.run` on the same input.

That is run on a session made bare, as anybody's, and on the handler's own: two sessions of one file differ, in how
onnxruntime was told to rewrite the graph, and by where each finds its memory.

Arguments: the pipe to report to, the folders to import from, `module.function`, the event (marshal), the
model file, the outputs that a run fetches, the model's inputs (marshal) or its transform, the number of blocks,
seconds a block, and `shipped` or `silent`. Silent is our handler with a telemetry that writes nothing.
"""

from __future__ import annotations

import json
import marshal
import os
import sys
import time
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from itertools import pairwise
from pathlib import Path
from statistics import median
from types import SimpleNamespace

pipe, folders, name, event_path, model, fetched, inputs, blocks, block_s, mode = sys.argv[1:]
sys.path[:0] = folders.split(":")

import numpy as np  # found only on the path set above
import onnxruntime as ort  # as numpy

SESSIONS = []
"""Those that the handler makes."""


class Known(ort.InferenceSession):
    """Is known here."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        SESSIONS.append(self)


ort.InferenceSession = Known  # before the handler imports it
event = marshal.loads(Path(event_path).read_bytes())  # noqa: S302  # written by the harness a moment ago
context = SimpleNamespace(
    function_name="bench",
    function_version="1",
    memory_limit_in_mb="1769",
    invoked_function_arn="arn:aws:lambda:eu-west-1:123456789012:function:bench",
    aws_request_id="00000000-0000-4000-8000-000000000000",
    get_remaining_time_in_millis=lambda: 10_000,
)


def main() -> None:
    handler = _silent() if mode == "silent" else _shipped()
    call = _call(handler)
    answer = call()
    own = SESSIONS[-1]  # a version that is not loaded at the start is by the first request
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    bare = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feeds = _transformed() if inputs.endswith(".py") else _raw()
    calls = {"handler_us": call, "floor_us": _run(bare, feeds), "own_us": _run(own, feeds)}
    for _ in range(3):  # lazy imports, caches and the first run's allocations
        for each in calls.values():
            each()
    taken = [_block(calls) for _ in range(int(blocks))]
    report = {
        "status": int(answer["statusCode"]),
        "body": answer["body"],
        **{name: [block[name] for block in taken] for name in calls},
    }
    os.write(int(pipe), marshal.dumps((time.monotonic_ns(), report)))


def _shipped():
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(module), attribute)


def _silent():
    """Our handler over the same package, told nothing to write; validation and all else as shipped."""
    from functions.realtime.service import make_handler  # noqa: PLC0415  # peers do not have it
    from shared.catalog import load_catalog  # noqa: PLC0415  # peers do not have it
    from shared.settings import RealtimeSettings  # noqa: PLC0415  # peers do not have it

    root = Path(folders.split(":")[0])
    return make_handler(
        RealtimeSettings.from_env(os.environ),
        catalog=load_catalog(root / "catalog.json"),
        package=root,
        telemetry=SimpleNamespace(request=lambda *_: None, failure=lambda *_: None),
    )


def _call(handler):
    return lambda: handler(event, context)


def _run(session, feeds):
    """`session.run` on what the handler's session is given."""
    names = fetched.split(",")
    if len(names) == len(session.get_outputs()):
        names = None
    return lambda: session.run(names, feeds)


def _raw():
    raw = marshal.loads(Path(inputs).read_bytes())  # noqa: S302  # as the event
    return {
        name: np.frombuffer(data, dtype).reshape(shape)
        for name, (dtype, shape, data) in raw.items()
    }


def _transformed():
    spec = spec_from_file_location("bench_transform", inputs)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    request = json.loads(event["body"])
    return module.preprocess(
        {
            tensor["name"]: np.array([text.encode() for text in tensor["data"]], object).reshape(
                tensor["shape"]
            )
            for tensor in request["inputs"]
        }
    )


def _block(calls) -> dict[str, float]:
    """Median microseconds of each of the calls, in alternating bursts for `block_s` seconds."""
    taken = {name: [] for name in calls}
    until = time.perf_counter() + float(block_s)
    while time.perf_counter() < until:
        for name, call in calls.items():
            taken[name] += _burst(call)
    return {name: median(times) for name, times in taken.items()}


def _burst(call) -> list[float]:
    """Microseconds of each of twenty calls in a row."""
    clock = time.perf_counter_ns
    marks = [clock()]
    for _ in range(20):
        call()
        marks.append(clock())
    return [(end - start) / 1000 for start, end in pairwise(marks)]


main()
