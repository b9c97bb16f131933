"""A submit over HTTP wakes the fleet of its pool, and never fails or waits because of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cli.testing.lambdas import LocalFunction
from cli.testing.service import ingress_settings, start_service
from tests.fixtures.ingress import make_ingress

JOB = {
    "model": "scale",
    "input": {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}]},
}


@pytest.fixture
def told():
    return []


@pytest.fixture
def service(small_models, told):
    """A service whose pool `shared` has a fleet, which `told` hears of."""
    with start_service(small_models) as service:
        settings = replace(ingress_settings(service.resources), wakes={"shared": "scaler"})
        service.lambdas.add(LocalFunction("scaler", lambda event, _: told.append(event)))
        service.gateway.routes["$default"] = make_ingress(
            service, settings, small_models, connect_wake=lambda: service.lambdas
        )
        yield service


def test_jobs_wake_their_pools_fleet_once_in_a_while(service, told):
    for _ in range(3):
        assert service.request("POST", "/v2/jobs", body=JOB).status == 202

    assert told == [{"wake": "shared"}]


def test_a_job_is_accepted_where_nobody_can_be_woken(service, told):
    service.lambdas.remove("scaler")

    assert service.request("POST", "/v2/jobs", body=JOB).status == 202
    assert told == []
    assert service.run_jobs() == 1
