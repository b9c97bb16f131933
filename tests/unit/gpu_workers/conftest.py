"""A pool of small models as a gpu pool has them."""

from __future__ import annotations

import pytest

from tests.fixtures.worker_desk import WorkerDesk, write_heavy_models


@pytest.fixture(scope="session")
def heavy_models(tmp_path_factory):
    return write_heavy_models(tmp_path_factory.mktemp("heavy") / "models")


@pytest.fixture
def desk(heavy_models):
    return WorkerDesk(heavy_models)
