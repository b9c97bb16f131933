"""Every job store, empty, with its clock."""

from __future__ import annotations

import pytest

from shared.results.memory import MemoryJobStore
from tests.fixtures.job_rows import ManualClock, dynamo_store, dynamodb_client


@pytest.fixture(scope="module")
def dynamodb():
    with dynamodb_client() as client:
        yield client


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture(params=["memory", "dynamodb"])
def store(request, clock):
    if request.param == "memory":
        yield MemoryJobStore(clock=clock)
        return
    with dynamo_store(request.getfixturevalue("dynamodb"), clock) as opened:
        yield opened
