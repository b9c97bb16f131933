"""When the stacks are made anew."""

from __future__ import annotations

import os

import pytest

from cli.dev.deploy import Target, inputs_digest
from cli.dev.state import State


@pytest.fixture
def target(tmp_path):
    for name in ("models/iris/1/model.onnx", "shared/a.py", "app.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("one")
    return Target(project=tmp_path, models=tmp_path / "models", state=State(tmp_path), port=4566)


@pytest.mark.parametrize("name", ["models/iris/1/model.onnx", "shared/a.py", "app.py"])
def test_a_changed_file_makes_them_anew(target, name):
    before = inputs_digest(target)
    path = target.project / name
    path.write_text("two")
    os.utime(path, ns=(1, 1))
    assert inputs_digest(target) != before


def test_a_new_and_a_removed_file_make_them_anew(target):
    before = inputs_digest(target)
    added = target.project / "shared" / "b.py"
    added.write_text("")
    assert inputs_digest(target) != before
    added.unlink()
    assert inputs_digest(target) == before
    (target.project / "shared" / "a.py").unlink()
    assert inputs_digest(target) != before


def test_another_port_makes_them_anew_because_the_address_is_in_them(target):
    moved = Target(
        project=target.project, models=target.models, state=target.state, port=target.port + 1
    )
    assert inputs_digest(moved) != inputs_digest(target)


def test_caches_do_not(target):
    before = inputs_digest(target)
    cache = target.project / "shared" / "__pycache__"
    cache.mkdir()
    (cache / "a.cpython-311.pyc").write_text("")
    assert inputs_digest(target) == before
