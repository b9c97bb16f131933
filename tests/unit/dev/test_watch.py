"""Which files make a redeploy."""

from __future__ import annotations

import queue
from pathlib import Path

import pytest

from cli.dev.watch import Watcher, describe, matters


@pytest.mark.parametrize(
    "name",
    ["iris/1/model.onnx", "iris/transform.py", "pools.toml", "realtime/handler.py", "app.py", "."],
)
def test_sources_and_model_files_matter(name):
    assert matters(Path(name))


@pytest.mark.parametrize(
    "name",
    [
        "realtime/__pycache__/handler.cpython-311.pyc",
        ".git/index",
        "iris/.model.onnx.part",
        "iris/SOURCE.md",
        "iris/transform.py~",
        "iris/.transform.py.swp",
        "iris/model.toml.partial",
    ],
)
def test_caches_drafts_and_prose_do_not(name):
    assert not matters(Path(name))


def test_a_change_is_reported_although_a_folder_above_has_an_ignored_name(tmp_path):
    project = tmp_path / "build" / ".hidden" / "project"
    models = project / "models"
    models.mkdir(parents=True)
    changes: queue.Queue[set[Path]] = queue.Queue()
    with Watcher(project, models, changes.put):
        (models / "pools.toml").write_text("")
        assert changes.get(timeout=20) == {models / "pools.toml"}


@pytest.mark.parametrize("name", ["functions/ingress/service.py", "shared/errors.py"])
def test_a_change_of_a_functions_code_is_reported(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    (tmp_path / "models").mkdir()
    changes: queue.Queue[set[Path]] = queue.Queue()
    with Watcher(tmp_path, tmp_path / "models", changes.put):
        path.write_text("")
        assert changes.get(timeout=20) == {path}


def test_changed_files_are_named_from_the_project_and_counted_past_three():
    project = Path("/project")
    changed = {project / "shared" / name for name in ("a.py", "b.py", "c.py", "d.py")}
    assert describe(changed, project) == "shared/a.py, shared/b.py, shared/c.py and 1 more"
    assert describe({Path("/elsewhere/x.toml")}, project) == "/elsewhere/x.toml"
