"""Model repositories of a test's own, made of the smallest real models."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[3] / "models"


@pytest.fixture
def repository(tmp_path):
    """A repository with breast-cancer in it, to be changed at will."""
    folder = tmp_path / "repository"
    shutil.copytree(EXAMPLES / "breast-cancer", folder / "breast-cancer")
    shutil.copy(EXAMPLES / "pools.toml", folder)
    return folder
