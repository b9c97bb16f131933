"""What the seams of jobs load: a worker that publishes in memory needs no AWS and no Pydantic."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("boto3", "botocore", "pydantic", "numpy", "onnxruntime")


@pytest.mark.parametrize(
    "module",
    [
        "shared.results.store",
        "shared.results.memory",
        "shared.results.payloads",
        "shared.results.table",
        "shared.queues.protocol",
        "shared.queues.memory",
    ],
)
def test_a_seam_loads_nothing_heavy(module):
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "module", ["shared.results.dynamodb", "shared.results.s3", "shared.queues.sqs"]
)
def test_what_speaks_to_aws_loads_neither_pydantic_nor_arrays(module):
    code = f"import sys, {module}; print([name for name in {HEAVY[2:]!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "[]"
