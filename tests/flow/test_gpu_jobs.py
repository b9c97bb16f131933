"""Jobs of gpu models through the whole service: as a user's own test has it, and over RabbitMQ by the real worker."""

from __future__ import annotations

import json

import pytest

from cli.testing import start_service
from tests.fixtures.brokered import start_carried_service
from tests.fixtures.worker_desk import write_heavy_models

pytestmark = pytest.mark.rabbitmq

REQUEST = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.5]}]}
JOB = {"model": "scale", "input": REQUEST}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_heavy_models(tmp_path_factory.mktemp("gpu") / "models")


@pytest.fixture(scope="module", params=["sqs", "rabbitmq"])
def service(request, models, tmp_path_factory):
    if request.param == "sqs":
        started = start_service(models)
    else:
        url = request.getfixturevalue("rabbitmq").url
        started = start_carried_service(models, url, tmp_path_factory.mktemp("carried"))
    with started as running:
        yield running


@pytest.mark.parametrize("priority", ["normal", "high"])
@pytest.mark.parametrize("latency_class", ["async", "batch"])
def test_a_job_of_a_gpu_model_is_answered_in_each_class_and_priority(
    service, latency_class, priority
):
    asked = {**JOB, "latency_class": latency_class, "priority": priority}
    accepted = service.request("POST", "/v2/jobs", body=asked)
    assert accepted.status == 202, accepted.body
    page = json.loads(accepted.body)
    assert page["priority"] == priority
    service.run_jobs()

    result = service.request("GET", f"/v2/jobs/{page['id']}/result")
    assert result.status == 200
    assert json.loads(result.body)["outputs"][0]["data"] == [2.0, 5.0]


def test_the_python_client_says_the_priority(service):
    job = service.client.submit("scale", {"x": [[1.0, 2.5]]}, priority="high")
    assert (job.priority, job.latency_class) == ("high", "async")
    service.run_jobs()
    assert service.client.job(job.id).status == "succeeded"


def test_an_answer_on_the_spot_is_refused_with_the_way_out_and_the_way_out_works(service):
    path = "/v2/models/scale/infer"
    refused = service.request("POST", path, body=REQUEST)
    assert refused.status == 400
    assert "respond-async" in json.loads(refused.body)["error"]

    accepted = service.request("POST", path, body=REQUEST, headers={"prefer": "respond-async"})
    assert accepted.status == 202
    service.run_jobs()
