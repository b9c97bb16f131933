"""The function that records deployments has no layer: it starts with what Python brings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
START = "import sys, functions.deployments.handler\nprint(*sorted(sys.modules))"


def test_recording_deployments_needs_nothing_that_has_to_be_installed():
    done = subprocess.run(
        [sys.executable, "-S", "-P", "-c", START],  # -S: without site-packages
        env={"PYTHONPATH": str(PROJECT), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    ours = {name for name in loaded if name.startswith(("shared.", "functions."))}
    assert ours == {
        "functions.deployments",
        "functions.deployments.handler",
        "functions.deployments.service",
        "shared.audit",
    }
