"""Making one session and running it: as onnxruntime does by default, or as our package does.

Arguments: the pipe to report to, the folders to import from (ours first has a `catalog.json`), the
model's name, `default` or `ours`, the plain model file, and the number of runs. Both import the same modules
before the clock starts; ours begins to hash its files before numpy, as the function does. Ours tells at the end what the
plain file gives that is loaded as ours are, too.
"""

from __future__ import annotations

import marshal
import os
import sys
import time
from pathlib import Path
from statistics import median

pipe, folders, name, way, plain, runs = sys.argv[1:]
sys.path[:0] = folders.split(":")

from shared.catalog import load_catalog  # found only on the path set above
from shared.inference.verifying import HashedAhead  # as above

root = Path(folders.split(":")[0])
model, version = load_catalog(root / "catalog.json").find(name)
ahead = HashedAhead(
    [root / version.folder / file.path for file in version.loaded] if way == "ours" else []
)

import numpy as np  # found only on the path set above
import onnxruntime as ort  # as numpy

from shared.inference.session import load_session, open_session  # as numpy

outputs = [output.name for output in version.graph_outputs]
# one sequence of 32 tokens; ids and mask alike are ones, which every BERT-like graph takes
feeds = {tensor.name: np.ones((1, 32), np.int64) for tensor in version.graph_inputs}


def one_thread() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return options


def default():
    options = one_thread()
    session = ort.InferenceSession(plain, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(outputs, feeds)


def ours():
    folder = root / version.folder
    session = load_session(folder, version, model.session, threads=1, hashed=ahead.sha256_of)
    return lambda: session.run(feeds, outputs, deadline_s=time.monotonic() + 60)


def resident_mb() -> float:
    line = next(
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )
    return int(line.split()[1]) * 1024 / 1e6


def timed_ms(call):
    start = time.perf_counter_ns()
    result = call()
    return (time.perf_counter_ns() - start) / 1e6, result


session_ms, run = timed_ms({"default": default, "ours": ours}[way])
first_run_ms, result = timed_ms(run)
resident = resident_mb()
plainly = open_session(Path(plain), one_thread()).run(outputs, feeds) if way == "ours" else []
report = {
    "session_ms": session_ms,
    "first_run_ms": first_run_ms,
    "resident_mb": resident,
    "run_ms": median(timed_ms(run)[0] for _ in range(int(runs))),
    "files": [file.path for file in version.loaded],
    "outputs": [array.tobytes() for array in result],
    "plainly": [array.tobytes() for array in plainly],
}
os.write(int(pipe), marshal.dumps((time.monotonic_ns(), report)))
