from __future__ import annotations

import pytest

from cli.testing import laneway_service  # noqa: F401 - a fixture is found by its name


@pytest.fixture(scope="session")
def laneway_models(small_models):
    return small_models
