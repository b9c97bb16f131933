"""Names, keys and tenants of jobs on the deployed service, also when everybody asks at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from tests.e2e.calls import call
from tests.e2e.local_service import eventually

pytestmark = pytest.mark.deployed

MODEL = "breast-cancer"
POSTS = 50
ENVIRONMENTS_MAX = 4
"""Of a function, while calls come one after the other."""
AT_ONCE = 10
"""More would take every process that the emulator may start; tests/flow has all fifty at once."""


def submission(value=1.0):
    tensor = {"name": "features", "shape": [1, 30], "datatype": "FP32", "data": [value] * 30}
    return {"model": MODEL, "latency_class": "async", "input": {"inputs": [tensor]}}


@pytest.fixture
def acme(laneway):
    """The headers of another tenant, one of the test's own: a tenant has two keys at most."""
    made = laneway("keys", "create", "--tenant", f"acme-{uuid4().hex[:8]}")
    assert made.returncode == 0, made.stderr
    return {"x-api-key": made.stdout.strip()}


def test_fifty_posts_with_one_key_make_one_job(service):
    key = uuid4().hex

    def post(_):
        headers = {"idempotency-key": key}
        return call(service, "POST", "/v2/jobs", json=submission(), headers=headers)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(post, range(POSTS)))

    refused = [answer for answer in answers if not answer.is_success]
    assert [
        answer.text for answer in refused if "message" not in answer.json()
    ] == []  # the gateway's
    made = [answer.json() for answer in answers if answer.is_success]
    assert len({job["id"] for job in made}) == 1
    assert [answer.status_code for answer in answers].count(202) == 1
    page = call(service, "GET", f"/v2/jobs/{made[0]['id']}").json()
    assert page["attempt"] <= 1


def test_one_key_with_another_payload_is_a_conflict_and_of_another_tenant_another_job(
    service, acme
):
    named = {"idempotency-key": uuid4().hex}

    first = call(service, "POST", "/v2/jobs", json=submission(), headers=named)
    other = call(service, "POST", "/v2/jobs", json=submission(2.0), headers=named)
    theirs = call(service, "POST", "/v2/jobs", json=submission(2.0), headers=named | acme)

    assert (first.status_code, other.status_code) == (202, 409)
    assert theirs.status_code == 202, theirs.text
    job = theirs.json()["id"]

    def has_ended():
        return call(service, "GET", f"/v2/jobs/{job}", headers=acme).json()["status"] == "succeeded"

    assert eventually(has_ended, timeout_s=60)


@pytest.mark.parametrize("path", ["", "/result"])
def test_a_job_of_another_tenant_answers_as_one_that_does_not_exist(service, acme, path):
    mine = call(service, "POST", "/v2/jobs", json=submission()).json()["id"]
    nobodys = mine[:-4] + "0000"

    foreign, unknown = (
        call(service, "GET", f"/v2/jobs/{job}{path}", headers=acme) for job in (mine, nobodys)
    )

    assert foreign.status_code == unknown.status_code == 404
    told, expected = foreign.json(), unknown.json()
    for answer in (told, expected):
        answer.pop("request_id")
    assert told == {**expected, "error": expected["error"].replace(nobodys, mine)}
    assert set(foreign.headers) == set(unknown.headers)
    listed = call(service, "GET", "/v2/jobs?limit=100", headers=acme).json()["jobs"]
    assert mine not in [job["id"] for job in listed]


def test_a_tenant_past_its_limits_is_refused_by_every_function_and_others_are_not(service, laneway):
    tenant = f"limited-{uuid4().hex[:8]}"
    set_ = laneway(
        *("tenants", "set", tenant, "--requests-per-s", "0.01", "--burst", "4"),
    )
    assert set_.returncode == 0, set_.stderr
    headers = {"x-api-key": laneway("keys", "create", "--tenant", tenant).stdout.strip()}
    body = submission()["input"]

    def infer():
        return call(service, "POST", f"/v2/models/{MODEL}/infer", json=body, headers=headers)

    def models():
        return call(service, "GET", "/v2/models", headers=headers)

    for ask in (infer, models):
        answers = [ask() for _ in range(24)]
        refused = answers[-1]
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited"), refused.text
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.headers["ratelimit"].startswith('"requests";r=0;t=')
        assert [answer.status_code for answer in answers].count(200) <= 4 + 4 * ENVIRONMENTS_MAX
    assert call(service, "GET", "/v2/models").status_code == 200
