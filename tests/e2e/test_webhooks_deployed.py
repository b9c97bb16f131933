"""A webhook from a job's submission to a receiver on this machine, through the deployed functions."""

from __future__ import annotations

import json
import subprocess

import pytest
from standardwebhooks import Webhook

from tests.e2e.calls import TIMEOUT_S, call, ended
from tests.e2e.local_service import LANEWAY, eventually
from tests.fixtures.receiver import reply

pytestmark = pytest.mark.deployed

MODEL = "breast-cancer"
ONE_ROW = {
    "inputs": [{"name": "features", "shape": [1, 30], "datatype": "FP32", "data": [1.0] * 30}]
}


@pytest.fixture(scope="module")
def secret(service, tmp_path_factory):
    """The signing secret that a user makes with the command."""
    folder = tmp_path_factory.mktemp("secret")
    (folder / ".laneway").symlink_to(service.state, target_is_directory=True)
    command = [LANEWAY, "webhooks", "secret", "create"]
    made = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True, timeout=TIMEOUT_S
    )
    return made.stdout.strip()


def submit(service, hooks, host):
    submission = {
        "model": MODEL,
        "latency_class": "async",
        "input": ONE_ROW,
        "webhook": f"https://{host}:{hooks.port}/hook",
    }
    accepted = call(service, "POST", "/v2/jobs", json=submission)
    assert accepted.status_code == 202, accepted.text
    return accepted.json()["id"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_receiver_on_this_machine_is_told_that_a_job_ended(service, hooks, secret, host):
    hooks.answers.append(reply(500))
    job = submit(service, hooks, host)
    assert ended(service, f"/v2/jobs/{job}")["status"] == "succeeded"

    def told():
        return [item for item in list(hooks.received) if job.encode() in item.body]

    assert eventually(lambda: len(told()) >= 2, timeout_s=TIMEOUT_S)
    first, again = told()[:2]
    assert first.headers["webhook-id"] == again.headers["webhook-id"]
    event = Webhook(secret).verify(again.body, again.headers)
    assert (event["type"], event["data"]["id"]) == ("job.succeeded", job)
    assert json.loads(first.body) == event
    service.wait_for("WEBHOOK_DELIVERED 200", timeout_s=TIMEOUT_S)
