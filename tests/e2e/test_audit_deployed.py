"""`laneway audit` on the deployed service: what callers, commands and deployments did, each in its record."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest

from tests.e2e.calls import call, ended
from tests.e2e.local_service import eventually

pytestmark = pytest.mark.deployed

MODEL = "breast-cancer"
ROW = {"name": "features", "shape": [1, 30], "datatype": "FP32", "data": [1.0] * 30}


@pytest.fixture
def audit(laneway):
    """The records that `laneway audit` shows, by what its options ask for."""

    def read(*options):
        result = laneway("audit", "--json", *options)
        assert result.returncode == 0, result.stderr
        return [json.loads(line) for line in result.stdout.splitlines()]

    return read


def digest_of(service):
    [version] = sorted((service.models / MODEL).glob("*/manifest.json"))[-1:]
    return version.parent.name, json.loads(version.read_text())["files"][0]["sha256"]


def test_every_act_on_the_deployed_service_is_recorded(service, laneway, audit):
    tenant = f"audited-{uuid4().hex[:8]}"
    made = laneway("keys", "create", "--tenant", tenant)
    key_id = made.stderr.split()[1]
    theirs = {"x-api-key": made.stdout.strip()}
    inputs = {"inputs": [ROW]}
    job = {"model": MODEL, "latency_class": "async", "input": inputs}

    inferred = call(service, "POST", f"/v2/models/{MODEL}/infer", json=inputs, headers=theirs)
    ran = call(service, "POST", "/v2/jobs", json=job, headers=theirs).json()["id"]
    assert ended(service, f"/v2/jobs/{ran}", headers=theirs)["status"] == "succeeded"
    canceled = call(service, "POST", f"/v2/jobs/{ran}/cancel", headers=theirs)
    refused = call(service, "GET", "/v2", headers={"x-api-key": f"lw_{'x' * 43}"})
    assert laneway("keys", "revoke", key_id).returncode == 0
    assert (inferred.status_code, canceled.status_code, refused.status_code) == (200, 200, 403)

    expected = [
        ("key_create", "ok"),
        ("infer", "ok"),
        ("submit", "ok"),
        ("infer", "succeeded"),
        ("cancel", "ok"),
        ("key_revoke", "ok"),
    ]
    found = []

    def is_all_there():
        found[:] = audit("--tenant", tenant)
        return len(found) >= len(expected)

    assert eventually(is_all_there, timeout_s=30), found
    assert [(record["act"], record["outcome"]) for record in found] == expected
    by_callers = [record for record in found if not record["act"].startswith("key_")]
    version, digest = digest_of(service)
    for record in by_callers:
        assert (record["principal"], record["model"]) == (f"key:{key_id}", MODEL)
        assert (record["version"], record["digest"]) == (version, digest)
    assert [record.get("job_id") for record in by_callers] == [None, ran, ran, ran]
    commands = [record for record in found if record not in by_callers]
    assert {record["key_id"] for record in commands} == {key_id}
    assert all(record["principal"].startswith("iam:arn:aws:") for record in commands)
    assert "unknown_key" in {record["outcome"] for record in audit("--act", "denied")}
    deployed = audit("--act", "deploy", "--model", MODEL)
    assert (version, digest) in {(record["version"], record["digest"]) for record in deployed}
    assert {record["principal"] for record in deployed} == {"cloudformation:laneway-local-audit"}
    assert [record["job_id"] for record in audit("--request-id", ran)] == [ran] * 3
