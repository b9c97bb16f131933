"""Fixtures to test your own models and transforms in a plain pytest: no account, no emulator.

    # conftest.py
    pytest_plugins = ["cli.testing"]

    # test_iris.py
    def test_iris_knows_a_setosa(laneway_service):
        result = laneway_service.client.infer("iris", {"x": [[5.1, 3.5, 1.4, 0.2]]})
        assert result["label"].tolist() == [0]

    def test_iris_takes_jobs(laneway_service):
        job = {"model": "iris", "input": {"inputs": [...]}}
        accepted = laneway_service.request("POST", "/v2/jobs", body=job)
        assert laneway_service.run_jobs() == 1

The models are those in `models/`; override the fixture `laneway_models` to name another folder. The
service is whole: the handlers that are deployed, behind a gateway that routes, authorizes and encodes
as API Gateway does, with DynamoDB, S3 and SQS from moto; and it listens on 127.0.0.1 for any other
client.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cli.testing.gateway import GatewayAnswer
from cli.testing.service import LocalService, start_service

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["GatewayAnswer", "LocalService", "laneway_models", "laneway_service", "start_service"]


@pytest.fixture(scope="session")
def laneway_models() -> Path:
    """The model repository under test; override it to name another folder."""
    return Path("models").absolute()


@pytest.fixture(scope="session")
def laneway_service(laneway_models: Path) -> Iterator[LocalService]:
    """The service over `laneway_models`, started once for all tests."""
    with start_service(laneway_models) as service:
        yield service
