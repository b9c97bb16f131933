"""The floor of a cold start: import numpy and onnxruntime, make the session, run it once.

Arguments: the pipe to report to, the folder with the packages, the model, the inputs (marshal:
name -> (dtype, shape, bytes)).
"""

from __future__ import annotations

import marshal
import posix
import sys
import time

pipe, folder, model, inputs_path = sys.argv[1:]
sys.path.insert(0, folder)

import numpy as np  # found only on the path set above
import onnxruntime as ort  # as numpy

with open(inputs_path, "rb") as file:  # noqa: PTH123  # pathlib is not free at start
    raw = marshal.load(file)  # noqa: S302  # written by the harness a moment ago
feeds = {
    name: np.frombuffer(data, dtype).reshape(shape) for name, (dtype, shape, data) in raw.items()
}
options = ort.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
outputs = session.run(None, feeds)
finished_ns = time.monotonic_ns()

report = {"outputs": [output.ravel().tolist() for output in outputs], "modules": len(sys.modules)}
posix.write(int(pipe), marshal.dumps((finished_ns, report)))
