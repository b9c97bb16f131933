"""Decoding one 1x3x224x224 FP32 tensor: ours from JSON and from a binary body, and `orjson` + `np.array`.

Arguments: the pipe to report to, the folders to import from, the number of rounds. Each round times
the three one after the other, each directly after an untimed call of itself: a body that the handler
decodes was written to memory a moment ago, when its base64 or its text was read.
"""

from __future__ import annotations

import marshal
import os
import sys
import time

pipe, folders, rounds = sys.argv[1:]
sys.path[:0] = folders.split(":")

import numpy as np  # found only on the path set above
import orjson  # as numpy

from shared.catalog import TensorSpec, load_catalog  # as numpy
from shared.inference.codec import InputCodec  # as numpy
from shared.schema.compiled import load_validators  # as numpy
from shared.schema.wire import open_body, parse_json, split_tail  # as numpy

SHAPE = [1, 3, 224, 224]
tensor = np.random.default_rng(1).standard_normal(SHAPE, dtype=np.float32)
described = {"name": "x", "shape": SHAPE, "datatype": "FP32"}
json_body = orjson.dumps(
    {"inputs": [{**described, "data": tensor.ravel()}]}, option=orjson.OPT_SERIALIZE_NUMPY
)
header = orjson.dumps(
    {"inputs": [{**described, "parameters": {"binary_data_size": tensor.nbytes}}]}
)
binary_body = header + tensor.tobytes()

from pathlib import Path  # beside its only use

catalog = load_catalog(Path(folders.split(":")[0]) / "catalog.json")
validators = load_validators(catalog.validators)
codec = InputCodec(TensorSpec("x", "FP32", (-1, 3, 224, 224)), text=False, allow_non_finite=False)


def ours(body: bytes, header_length: str | None):
    frame = open_body(body, header_length=header_length)
    request = validators.inference_request(parse_json(frame.json))
    part = split_tail(request.inputs, frame.tail)[0]
    return codec.decode(request.inputs[0], part, 0)


def plain():
    request = orjson.loads(json_body)["inputs"][0]
    return np.array(request["data"], np.float32).reshape(request["shape"])


ways = {
    "plain_ms": plain,
    "json_ms": lambda: ours(json_body, None),
    "binary_ms": lambda: ours(binary_body, str(len(header))),
}
for way in ways.values():
    assert np.array_equal(way(), tensor)
times: dict[str, list[float]] = {name: [] for name in ways}
for _ in range(int(rounds)):
    for name, way in ways.items():
        way()
        start = time.perf_counter_ns()
        way()
        times[name].append((time.perf_counter_ns() - start) / 1e6)
os.write(int(pipe), marshal.dumps((time.monotonic_ns(), times)))
