"""`laneway erase` on the deployed service: what its owner does when a tenant asks to be forgotten."""

from __future__ import annotations

import json

import pytest

from tests.e2e.calls import aws_client, call, ended, upload

pytestmark = pytest.mark.deployed

MODEL = "breast-cancer"
ROW = {"name": "features", "shape": [1, 30], "datatype": "FP32", "data": [1.0] * 30}


@pytest.fixture
def leaver(laneway):
    """The headers of a tenant that leaves."""
    made = laneway("keys", "create", "--tenant", "leaver")
    assert made.returncode == 0, made.stderr
    return {"x-api-key": made.stdout.strip()}


def test_a_tenant_is_forgotten_once_that_is_confirmed_and_the_audit_keeps_that(
    service, laneway, leaver
):
    place = call(service, "POST", "/v2/uploads", json={"max_bytes": 10_000}, headers=leaver).json()
    upload(place, json.dumps({"inputs": [ROW]}).encode())
    submission = {"model": MODEL, "latency_class": "async", "input_uri": place["uri"]}
    job = call(service, "POST", "/v2/jobs", json=submission, headers=leaver).json()["id"]
    assert ended(service, f"/v2/jobs/{job}", headers=leaver)["status"] == "succeeded"
    assert laneway("webhooks", "secret", "create", "--tenant", "leaver").returncode == 0

    refused = laneway("erase", "--tenant", "leaver", stdin="n\n")
    assert refused.returncode == 1
    assert call(service, "GET", f"/v2/jobs/{job}", headers=leaver).status_code == 200

    erased = laneway("erase", "--tenant", "leaver", stdin="y\n")
    assert erased.returncode == 0, erased.stderr
    lines = [line.split() for line in erased.stdout.splitlines()]
    counted = {
        " ".join(kind): int(count) for *kind, count in filter(None, lines) if count.isdigit()
    }
    assert counted["jobs"] == counted["secrets"] == 1
    assert counted["object versions"] >= 1

    assert call(service, "GET", f"/v2/jobs/{job}", headers=leaver).status_code == 404
    bucket = place["uri"].removeprefix("s3://").partition("/")[0]
    listed = aws_client(service, "s3").list_object_versions(Bucket=bucket)
    keys = [one["Key"] for name in ("Versions", "DeleteMarkers") for one in listed.get(name, ())]
    assert not [key for key in keys if "/leaver/" in key]
    again = laneway("erase", "--tenant", "leaver", "--yes")
    assert "keeps nothing of tenant leaver" in again.stderr
    logs = aws_client(service, "logs")
    events = logs.filter_log_events(logGroupName="/laneway/local/audit")["events"]
    records = [json.loads(event["message"]) for event in events]
    acts = [(r["outcome"], r["tenant"]) for r in records if r["audit"] == "erase"]
    assert acts == [("begun", "leaver"), ("ok", "leaver")] * 2
