"""`laneway profile` on a real package, through AWS's own runtime client."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cli.profile.measure import profile as measure
from cli.profile.objects import ObjectStore
from cli.profile.processes import Target
from shared.repository import read_repository
from stacks.packaging import BuildContext
from stacks.packaging.build import build_pool
from stacks.packaging.fetched import FetchedFile
from stacks.packaging.layers import ONNX_RUNTIME, build_layer
from tests.fixtures.small_models import write_repository

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
    assert "fetch" not in found["stages_ms"]
    assert picture.read_text().startswith("<svg")


def test_a_model_that_the_package_leaves_on_s3_is_fetched_by_every_process(tmp_path):
    repository = read_repository(write_repository(tmp_path))
    entry = repository.models["scale"]
    [file] = entry.manifests["1"].files
    left = FetchedFile(entry.folder / "1" / file.path, file.sha256, file.size_bytes)
    context = BuildContext()
    alone = replace(repository, models={"scale": entry})
    package = build_pool(alone, "shared", context, {}, {("scale", "1"): (left,)})
    request = tmp_path / "request.json"
    data = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
    request.write_text(json.dumps({"inputs": [data]}))

    with ObjectStore({left.key: left.path}, mb_a_second=1.0) as store:
        target = Target(
            task=package.folder,
            python=build_layer(ONNX_RUNTIME, context).folder / "python",
            pool="shared",
            model="scale",
            version="1",
            request=request,
            scratch=tmp_path,
            env=store.env,
        )
        found = measure(target, threads=[1], rounds=1, told=lambda _: None)

    assert found.stages_ms["fetch"] > 0
    assert found.start is not None
    assert not list(tmp_path.glob("*/laneway-models"))


@pytest.mark.parametrize(
    ("model", "says"),
    [("nothing-of-this-name", "has no model"), ("text-recognition", "gpu workers")],
)
def test_a_model_that_no_function_runs_is_refused_at_once(model, says):
    done = profile(model)
    assert done.returncode == 1
    assert says in done.stderr
