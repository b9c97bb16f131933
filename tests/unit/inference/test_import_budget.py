"""What serving imports, seen from a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

HEAVY = (
    "onnx", "pydantic", "asyncio", "concurrent.futures", "boto3", "botocore", "google.protobuf", "ml_dtypes",
    "http.client", "hypothesis",
)  # fmt: skip
CODE = (
    "import sys, shared.inference.pipeline, shared.inference.loading, shared.inference.encoder;"
    "print(*sys.modules, sep='\\n')"
)


def test_serving_imports_arrays_and_the_runtime_and_nothing_else_that_is_heavy():
    out = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(out.stdout.split())

    assert {"numpy", "onnxruntime", "orjson", "pydantic_core._pydantic_core"} <= loaded
    assert loaded.isdisjoint(HEAVY)
