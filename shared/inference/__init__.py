"""The inference layer: request in, answer out, over onnxruntime. The only home of numpy and onnxruntime.

onnxruntime tells its makers about machines and models (`onnxruntime/Privacy.md`, 1.31) unless it is asked not
to before it is first imported. So this is asked here, where every module that imports it has its home.
"""

import os
from typing import Final

NO_TELEMETRY: Final = {"ORT_DISABLE_TELEMETRY": "1"}
"""For the environment of a process that imports onnxruntime before anything of ours."""

for _name, _value in NO_TELEMETRY.items():
    os.environ.setdefault(_name, _value)
