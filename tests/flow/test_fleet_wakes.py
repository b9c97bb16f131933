"""A submit over HTTP wakes the fleet of its pool, and never fails or waits because of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cli.testing.lambdas import LocalFunction
from cli.testing.service import ingress_settings, start_service
from functions.ingress.assembly import Clients, make_handler, make_jobs
from functions.ingress.readiness import LambdaReadiness
from functions.ingress.service import IngressService
from shared.catalog import parse_catalog
from shared.repository import compile_catalog, read_repository
from shared.schema.compile import export_validators
from shared.telemetry import Telemetry

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
        service.gateway.routes["$default"] = _ingress(service, settings, small_models)
        yield service


def _ingress(service, settings, models):
    catalog = parse_catalog(
        {**compile_catalog(read_repository(models)), "validators": export_validators()}
    )
    resources = service.resources
    clients = Clients(resources.dynamodb, resources.s3, resources.sqs)
    jobs = make_jobs(
        settings,
        catalog=catalog,
        connect=lambda: clients,
        connect_wake=lambda: service.lambdas,
    )
    readiness = LambdaReadiness(service.lambdas, aliases={}, cache_s=0)
    ingress = IngressService(
        settings, catalog=catalog, readiness=readiness, package=models, jobs=jobs, batches=None
    )
    telemetry = Telemetry(service="laneway-ingress", stage="local", pool="ingress")
    return LocalFunction("ingress", make_handler(ingress, telemetry=telemetry), timeout_s=29)


def test_jobs_wake_their_pools_fleet_once_in_a_while(service, told):
    for _ in range(3):
        assert service.request("POST", "/v2/jobs", body=JOB).status == 202

    assert told == [{"wake": "shared"}]


def test_a_job_is_accepted_where_nobody_can_be_woken(service, told):
    service.lambdas.remove("scaler")

    assert service.request("POST", "/v2/jobs", body=JOB).status == 202
    assert told == []
    assert service.run_jobs() == 1
