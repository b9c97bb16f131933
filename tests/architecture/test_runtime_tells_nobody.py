"""onnxruntime's own telemetry is off in every process of ours; seen in a fresh interpreter with a home of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from cli.profile.processes import CHILD

PROJECT = Path(__file__).parents[2]
MODEL = PROJECT / "models" / "breast-cancer" / "1" / "model.onnx"
SESSION = """
{first}
from onnxruntime import InferenceSession
InferenceSession({model!r}, providers=["CPUExecutionProvider"])
"""
IMPORTS = re.compile(r"^\s*(?:import|from) onnxruntime\b", re.MULTILINE)
OURS = ("cli", "functions", "gpu_workers", "models", "shared", "stacks")


def written_at_home(home: Path, first: str) -> list[str]:
    """What a session leaves below an empty home; a device's id and a queue of events, where it tells."""
    home.mkdir()
    subprocess.run(
        [sys.executable, "-c", SESSION.format(first=first, model=str(MODEL))],
        check=True,
        cwd=PROJECT,
        # the proxy that is not there keeps what is told on this machine
        env={"HOME": str(home), "PATH": os.environ["PATH"], "https_proxy": "http://127.0.0.1:9"},
        timeout=60,
    )
    return [path.name for path in home.rglob("*") if path.is_file()]


def test_a_session_of_ours_leaves_no_id_and_no_events_behind(tmp_path):
    assert written_at_home(tmp_path / "ours", "import shared.inference.session") == []
    bare = written_at_home(tmp_path / "bare", "")
    assert bare, "onnxruntime tells nobody by itself any more: shared/inference need not ask it"


def test_nothing_imports_onnxruntime_before_it_was_asked():
    found = [
        path.relative_to(PROJECT)
        for name in OURS
        for path in (PROJECT / name).rglob("*.py")
        if IMPORTS.search(path.read_text())
    ]
    home = Path("shared/inference")
    assert found
    # `child.py` is asked by the environment that it is started with
    assert {path for path in found if home not in path.parents} <= {CHILD.relative_to(PROJECT)}
