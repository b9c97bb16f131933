"""The local service with RabbitMQ as its broker: jobs over HTTP and by plain pika, and a clean stop."""

from __future__ import annotations

import json
import os
import shutil
from urllib.parse import urlsplit

import httpx
import pika
import pytest

from cli.testing.rabbitmq import is_installed
from shared.inference.golden import GOLDEN_FILE, differences, read_cases
from tests.e2e.calls import call, ended
from tests.e2e.local_service import (
    PROJECT,
    START_TIMEOUT_S,
    assert_nothing_left,
    free_port,
    is_open,
    local_service,
)

pytestmark = [pytest.mark.deployed, pytest.mark.rabbitmq]

MODEL = "breast-cancer"


@pytest.fixture(scope="module")
def over_rabbitmq(tmp_path_factory):
    """A service of one model; its jobs are run by a worker, since Lambda consumes no RabbitMQ here."""
    if not is_installed():
        message = "RabbitMQ is not installed; on Debian: apt install rabbitmq-server"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(message)
    folder = tmp_path_factory.mktemp("rabbitmq")
    models = folder / "models"
    models.mkdir()
    shutil.copy(PROJECT / "models" / "pools.toml", models)
    shutil.copytree(PROJECT / "models" / MODEL, models / MODEL)
    with local_service(folder / "state", models, free_port(), "--broker", "rabbitmq") as service:
        service.wait_for("ready after", timeout_s=START_TIMEOUT_S)
        yield service


@pytest.fixture(scope="module")
def case():
    return read_cases(PROJECT / "models" / MODEL / GOLDEN_FILE)[0]


def assert_golden(service, case, job):
    assert ended(service, f"/v2/jobs/{job}")["status"] == "succeeded"
    answer = call(service, "GET", f"/v2/jobs/{job}/result")
    assert differences(case, {item["name"]: item for item in answer.json()["outputs"]}) == []


@pytest.mark.parametrize("latency_class", ["async", "batch"])
def test_a_job_over_http_has_the_answer_of_the_original_library(over_rabbitmq, case, latency_class):
    submission = {"model": MODEL, "latency_class": latency_class, "input": case.request}

    accepted = call(over_rabbitmq, "POST", "/v2/jobs", json=submission)

    assert accepted.status_code == 202, accepted.text
    assert_golden(over_rabbitmq, case, accepted.json()["id"])


def test_a_message_published_with_plain_pika_becomes_a_job(over_rabbitmq, case):
    facts = over_rabbitmq.facts
    message = {"schema_version": 1, "id": "published", "model": MODEL, "input": case.request}

    with pika.BlockingConnection(pika.URLParameters(facts["broker"]["url"])) as connection:
        connection.channel().basic_publish("", facts["queues"]["async"], json.dumps(message))

    assert_golden(over_rabbitmq, case, "published")


def test_a_realtime_call_and_one_that_waits_are_answered_on_the_spot(over_rabbitmq, case):
    for headers in ({}, {"prefer": "respond-async, wait=20"}):
        path = f"/v2/models/{MODEL}/infer"
        answer = call(over_rabbitmq, "POST", path, json=case.request, headers=headers)
        assert answer.status_code == 200, answer.text


def test_stopped_it_leaves_neither_broker_nor_worker(over_rabbitmq):
    service = over_rabbitmq
    port = urlsplit(service.facts["broker"]["url"]).port
    running = " ".join(service.processes())
    assert "ministack-lambda-" in running
    assert "-m gpu_workers" in running
    assert "beam" in running
    assert is_open(port)
    models = httpx.get(f"{service.endpoint}/v2/models", headers=service.headers).json()
    assert models == {"models": [MODEL]}

    assert service.stop() == 0

    assert_nothing_left(service)
    assert not is_open(port)
