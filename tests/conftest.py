"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.pop("COLUMNS", None)  # pytest-xdist sets it, and commands fold their tables by it

ONE_GROUP = ("e2e", "faults")
"""Folders whose tests share a service that is costly to start: one process runs all of a folder."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where two processes share the tests: a file stays whole, and what takes longest starts first."""
    root = Path(__file__).parent
    for item in items:
        folder, *_ = item.path.relative_to(root).parts
        group = folder if folder in ONE_GROUP else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: ONE_GROUP[0] not in item.path.parts)


@pytest.fixture(scope="session")
def small_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository of a few small graphs; not to be changed by a test."""
    from tests.fixtures.small_models import write_repository  # noqa: PLC0415 - onnx is only loaded where asked for

    return write_repository(tmp_path_factory.mktemp("models"))
