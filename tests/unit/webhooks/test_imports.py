"""What checking a URL costs at submit, and what the webhooks' function loads, in fresh interpreters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[3]


def loaded_by(statement):
    script = (
        f"import sys\n{statement}\nprint(*sorted(name.partition('.')[0] for name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(done.stdout.split())


def test_checking_a_url_loads_no_http_client():
    loaded = loaded_by("from shared.egress import check_webhook_url")
    assert not loaded & {"urllib3", "ssl", "http", "socket", "asyncio", "boto3", "pydantic"}


def test_sending_an_event_loads_neither_arrays_nor_a_second_http_client():
    loaded = loaded_by("import functions.webhooks.service, shared.egress.https")
    assert "urllib3" in loaded
    assert not loaded & {"numpy", "onnxruntime", "httpx", "requests", "aws_xray_sdk", "aws_cdk"}
