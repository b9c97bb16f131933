"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def small_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository of a few small graphs; not to be changed by a test."""
    from tests.fixtures.small_models import write_repository  # noqa: PLC0415 - onnx is only loaded where asked for

    return write_repository(tmp_path_factory.mktemp("models"))
