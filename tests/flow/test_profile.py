"""`laneway profile` on a real package, through AWS's own runtime client."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

LANEWAY = Path(sys.executable).with_name("laneway")
PROJECT = Path(__file__).parents[2]


def profile(*arguments):
    return subprocess.run(
        [LANEWAY, "profile", *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_model_is_started_and_asked_as_a_function_would_be(tmp_path):
    picture = tmp_path / "profile.svg"
    done = profile(
        "breast-cancer", "--rounds", "1", "--threads", "1", "--json", "--picture", str(picture)
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert 0 < found["start"]["init_ms"] < found["start"]["answered_ms"]
    assert all(value > 0 for value in found["stages_ms"].values())
    assert 0 < found["imported_mib"] < found["loaded_mib"] <= found["peak_mib"]
    [requests] = found["requests"]
    assert 0 < requests["p50_ms"] <= requests["p99_ms"]
    assert found["form"] is None  # of so small a model there is none to be had
    assert found["advice"][0].startswith("memory_mib = ")
    assert picture.read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("model", "says"),
    [("nothing-of-this-name", "has no model"), ("text-recognition", "gpu workers")],
)
def test_a_model_that_no_function_runs_is_refused_at_once(model, says):
    done = profile(model)
    assert done.returncode == 1
    assert says in done.stderr
