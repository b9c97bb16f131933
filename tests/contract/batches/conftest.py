"""Every batch store, empty."""

from __future__ import annotations

import pytest

from shared.results.batches_memory import MemoryBatchStore
from tests.fixtures.batch_rows import dynamo_batches
from tests.fixtures.job_rows import dynamodb_client


@pytest.fixture(scope="module")
def dynamodb():
    with dynamodb_client() as client:
        yield client


@pytest.fixture(params=["memory", "dynamodb"])
def store(request):
    if request.param == "memory":
        yield MemoryBatchStore()
        return
    with dynamo_batches(request.getfixturevalue("dynamodb")) as opened:
        yield opened
