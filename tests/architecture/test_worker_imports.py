"""What the long-lived worker loads: the runtime and AWS, and nothing of the tools around it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
START = "import sys, gpu_workers.__main__\nprint(*sorted(sys.modules))"
NEVER = {"aws_cdk", "aws_xray_sdk", "cli", "functions", "stacks", "moto", "httpx", "onnx", "typer"}
LATER = {"pika"}
"""Loaded where a queue is in RabbitMQ."""


def test_the_worker_loads_the_runtime_and_no_tool_and_no_broker_before_it_is_named():
    out = subprocess.run(
        [sys.executable, "-c", START],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    loaded = {name.partition(".")[0] for name in out.stdout.split()}

    assert {"onnxruntime", "numpy", "boto3", "shared"} <= loaded
    assert loaded.isdisjoint(NEVER | LATER)
