"""What a pool's worker is given, and when it is another one."""

from __future__ import annotations

import os

import pytest

from cli.dev.deploy import Target
from cli.dev.state import State
from cli.dev.worker_package import make_package
from shared.catalog import load_catalog
from shared.repository import read_repository
from tests.fixtures.small_models import write_repository


@pytest.fixture
def target(tmp_path):
    for name in ("shared/a.py", "gpu_workers/b.py"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("one")
    (tmp_path / "models").mkdir()
    write_repository(tmp_path / "models")
    return Target(project=tmp_path, models=tmp_path / "models", state=State(tmp_path), port=4566)


def package(target):
    return make_package(target, read_repository(target.models), "other")


def test_it_has_the_catalog_of_its_pool_and_the_models_files(target):
    made = package(target)

    catalog = load_catalog(made.folder / "catalog.json")
    model, version = catalog.find("pairs", None)
    assert model.pool == "other"
    assert (made.folder / version.folder / "model.onnx").is_file()
    assert "scale" not in catalog.models


def test_it_stays_the_same_while_nothing_changes(target):
    assert package(target) == package(target)


@pytest.mark.parametrize(
    "name", ["shared/a.py", "gpu_workers/b.py", "models/pairs/v1.0/model.onnx"]
)
def test_changed_code_and_changed_models_make_another(target, name):
    before = package(target)
    path = target.project / name
    os.utime(path, ns=(1, 1))
    assert package(target) != before


def test_a_changed_model_of_another_pool_does_not(target):
    before = package(target)
    os.utime(target.models / "scale" / "1" / "model.onnx", ns=(1, 1))
    assert package(target) == before
