from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def project_models():
    """The models of this repository; only their declarations and golden files are read."""
    return Path(__file__).parents[3] / "models"
