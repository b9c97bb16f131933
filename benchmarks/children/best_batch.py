"""The floor of a worker: `session.run` at the best of several batch sizes, on tensors that are there.

Once with a session made bare, as anybody's, and once with one that is made as the worker makes it.

Arguments: the pipe to report to, the folders to import from (the project first), the model, its version,
intra-op threads, seconds a size. Reports microseconds a row of both, and the size of the first.
"""

from __future__ import annotations

import marshal
import os
import sys
import time
from functools import partial
from pathlib import Path

pipe, folders, name, version, threads, size_s = sys.argv[1:]
sys.path[:0] = folders.split(":")

import json  # after the path, as the others

import numpy as np  # found only on the path set above
import onnxruntime as ort  # as numpy

from benchmarks.harness.events import one_row_request
from shared.catalog import parse_catalog
from shared.inference.loading import load_model
from shared.repository import compile_catalog, read_repository
from shared.schema.compile import export_validators
from shared.schema.compiled import load_validators

ROOT = Path(folders.split(":")[0])
SIZES = (1, 2, 4, 8, 16, 32)


def main() -> None:
    compiled = {
        **compile_catalog(read_repository(ROOT / "models")),
        "validators": export_validators(),
    }
    catalog = parse_catalog(json.loads(json.dumps(compiled)))
    model, found = catalog.find(name, version)
    served = load_model(ROOT, model, found, threads=int(threads))
    validate = load_validators(catalog.validators).inference_request
    feeds = served.prepare(validate(one_row_request(name))).feeds
    options = ort.SessionOptions()
    options.intra_op_num_threads = int(threads)
    options.inter_op_num_threads = 1
    file = str(ROOT / found.folder / found.files[0].path)
    bare = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    own = served.session._session  # noqa: SLF001  without what is ours around it
    fetched = served.session.output_names
    best_us, best = _best(partial(bare.run, fetched), feeds)
    own_us, _ = _best(partial(own.run, fetched), feeds)
    report = {"row_us": best_us, "size": best, "own_us": own_us}
    os.write(int(pipe), marshal.dumps((time.monotonic_ns(), report)))


def _best(run, feeds) -> tuple[float, int]:
    """Microseconds a row, and the size that takes them."""
    return min((row_us(run, feeds, size), size) for size in SIZES)


def row_us(run, feeds, size: int) -> float:
    stacked = {key: np.repeat(tensor, size, axis=0) for key, tensor in feeds.items()}
    run(stacked)
    rows, began = 0, time.perf_counter()
    while (took_s := time.perf_counter() - began) < float(size_s) or not rows:
        run(stacked)
        rows += size
    return took_s / rows * 1e6


main()
