"""A tenant sees its own and nothing else: what is somebody else's answers as what is not there.

Alike in status, headers and body, and in the calls that are made of AWS for it, which is what time goes by.
"""

from __future__ import annotations

import json

import pytest

from shared.schema.scopes import NEEDED
from tests.fixtures.aws_calls import AwsCalls

UNKNOWN = "0123456789abcdefghij"
TENSOR = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
BODY = {"inputs": [TENSOR]}
JOB = {"model": "scale", "input": BODY}
NAMING = sorted(
    (method, path) for path, methods in NEEDED.items() for method in methods if "{id}" in path
)
PUT_JOB = ("PUT", "/v2/jobs/{id}")


@pytest.fixture(scope="module")
def mallory(laneway_service):
    return laneway_service.headers_of("mallory")


@pytest.fixture(scope="module")
def owned(laneway_service):
    """Ids of what the default tenant has: jobs and a batch, at the beginning and at the end."""
    service = laneway_service
    ended = service.request("POST", "/v2/jobs", body=JOB).json()["id"]
    line = {"custom_id": "1", "method": "POST", "url": "/v2/models/scale/infer", "body": BODY}
    key = "uploads/default/apart.jsonl"
    service.resources.s3.put_object(
        Bucket=service.resources.bucket, Key=key, Body=json.dumps(line).encode()
    )
    batch = {
        "endpoint": "/v2/models/scale/infer",
        "input": f"s3://{service.resources.bucket}/{key}",
    }
    done = service.request("POST", "/v2/batches", body=batch).json()["id"]
    service.run_jobs()
    waiting = service.request("POST", "/v2/jobs", body=JOB).json()["id"]
    begun = service.request("POST", "/v2/batches", body=batch).json()["id"]
    yield {"jobs": (ended, waiting), "batches": (done, begun)}
    service.run_jobs()


@pytest.fixture(scope="module")
def calls(laneway_service):
    seen = AwsCalls()
    resources = laneway_service.resources
    seen.watch(resources.dynamodb, resources.s3, resources.sqs)
    return seen


@pytest.fixture
def asked(laneway_service, mallory, calls):
    """Asks as another tenant: the answer without its request's id, and the calls of AWS that it took."""

    def ask(method, path, body=b"", *, name):
        calls.forget()
        answer = laneway_service.request(method, path, headers=mallory, body=body)
        told = json.dumps({**answer.json(), "request_id": ""}).replace(name, "NAME")
        return answer.status, dict(answer.headers), told, tuple(calls.made)

    return ask


@pytest.mark.parametrize(("method", "path"), [call for call in NAMING if call != PUT_JOB])
def test_what_is_anothers_answers_as_what_is_not_there(owned, asked, method, path):
    for own in owned["jobs" if "/jobs/" in path else "batches"]:
        foreign = asked(method, path.replace("{id}", own), name=own)
        unknown = asked(method, path.replace("{id}", UNKNOWN), name=UNKNOWN)
        assert foreign == unknown
        assert foreign[0] == 404
        assert foreign[3]  # it is the store that decides, for both


def test_nothing_of_anothers_changes_by_asking(laneway_service, owned, mallory):
    def pages():
        return [
            laneway_service.request("GET", f"/v2/{kind}/{name}").json()
            for kind, names in owned.items()
            for name in names
        ]

    def status(page):
        return page["id"], page["status"]

    before = pages()
    for method, path in NAMING:
        for name in owned["jobs" if "/jobs/" in path else "batches"]:
            if (method, path) != PUT_JOB:
                laneway_service.request(method, path.replace("{id}", name), headers=mallory)
    assert list(map(status, pages())) == list(map(status, before))


def test_a_name_that_another_has_taken_is_free(laneway_service, owned):
    mallory = laneway_service.headers_of("mallory")
    taken = owned["jobs"][1]
    mine = laneway_service.request("PUT", f"/v2/jobs/{taken}", body=JOB, headers=mallory)
    free = laneway_service.request("PUT", f"/v2/jobs/{UNKNOWN}", body=JOB, headers=mallory)
    assert (mine.status, free.status) == (202, 202)
    assert mine.json().keys() == free.json().keys()
    theirs = laneway_service.request("GET", f"/v2/jobs/{taken}").json()
    assert theirs["created_at"] != mine.json()["created_at"]


def test_an_idempotency_key_of_anothers_is_free(laneway_service, mallory):
    key = {"idempotency-key": "order-7"}
    first = laneway_service.request("POST", "/v2/jobs", body=JOB, headers=key)
    second = laneway_service.request("POST", "/v2/jobs", body=JOB, headers={**key, **mallory})
    assert (first.status, second.status) == (202, 202)
    assert first.json()["id"] != second.json()["id"]


@pytest.mark.parametrize("kind", ["jobs", "batches"])
def test_lists_hold_ones_own_also_from_a_cursor_of_anothers(laneway_service, owned, mallory, kind):
    assert owned
    own = laneway_service.request("GET", f"/v2/{kind}?limit=1").json()
    assert len(own[kind]) == 1
    known = {item["id"] for item in own[kind]} | set(owned[kind])
    for path in (f"/v2/{kind}", f"/v2/{kind}?cursor={own['cursor']}"):
        answer = laneway_service.request("GET", path, headers=mallory)
        assert answer.status in (200, 400)
        assert not known & {item["id"] for item in answer.json().get(kind, [])}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2/jobs", lambda uri: {"model": "scale", "input_uri": uri}),
        ("/v2/batches", lambda uri: {"endpoint": "/v2/models/scale/infer", "input": uri}),
    ],
)
def test_an_upload_of_anothers_cannot_be_named_whether_it_is_there_or_not(
    laneway_service, owned, asked, path, body
):
    assert owned  # made the object

    def refusal(name):
        uri = f"s3://{laneway_service.resources.bucket}/uploads/default/{name}"
        return asked("POST", path, json.dumps(body(uri)).encode(), name=name)

    there, absent = refusal("apart.jsonl"), refusal("absent.jsonl")
    assert there == absent
    assert there[0] == 400
    assert "uri_not_allowed" in there[2]


def test_a_place_for_an_upload_is_the_callers_own(laneway_service, mallory):
    place = laneway_service.request("POST", "/v2/uploads", body={}, headers=mallory).json()
    tenant = place["uri"].split("/")[4]
    assert tenant.startswith("mallory-")
    assert place["fields"]["key"].startswith(f"uploads/{tenant}/")


def drop(service, **members):
    """Send a message as a user may who has a right on the queue, in a group of another tenant's."""
    service.resources.sqs.send_message(
        QueueUrl=service.resources.queues["shared"]["async"],
        MessageBody=json.dumps({"schema_version": 1, "model": "scale", **members}),
        MessageGroupId="acme",
        MessageAttributes={"tenant": {"DataType": "String", "StringValue": "acme"}},
    )
    service.run_jobs()


def test_a_message_is_of_its_queues_tenant_whatever_it_says_of_itself(laneway_service):
    laneway_service.run_jobs()
    drop(laneway_service, id="dropped-apart", input=BODY)
    job = laneway_service.request("GET", "/v2/jobs/dropped-apart")
    assert (job.status, job.json()["status"]) == (200, "succeeded")
    drop(laneway_service, id="dropped-forged", input=BODY, tenant="acme")
    assert laneway_service.request("GET", "/v2/jobs/dropped-forged").status == 404
    rows = laneway_service.resources.dynamodb.scan(TableName=laneway_service.resources.jobs_table)
    assert not [row for row in rows["Items"] if row["pk"]["S"].startswith("acme/")]


def test_a_message_cannot_name_what_another_tenant_uploaded(laneway_service):
    resources = laneway_service.resources
    key = "uploads/acme/secret"
    resources.s3.put_object(Bucket=resources.bucket, Key=key, Body=json.dumps(BODY).encode())
    drop(laneway_service, id="dropped-reader", input_uri=f"s3://{resources.bucket}/{key}")
    job = laneway_service.request("GET", "/v2/jobs/dropped-reader").json()
    assert (job["status"], job["error"]["code"]) == ("failed", "uri_not_allowed")


def test_a_message_that_names_anothers_job_sets_it_going_and_shows_nothing_of_it(
    laneway_service, mallory
):
    """As Laneway's own messages do: whoever may send to a queue can do no more than they."""
    made = laneway_service.request("PUT", "/v2/jobs/named-by-others", body=JOB, headers=mallory)
    assert made.status == 202
    resources = laneway_service.resources
    rows = resources.dynamodb.scan(TableName=resources.jobs_table)["Items"]
    [key] = [row["pk"]["S"] for row in rows if row["pk"]["S"].endswith("/named-by-others")]
    named = {"tenant": key.partition("/")[0], "id": "named-by-others"}
    resources.sqs.send_message(
        QueueUrl=resources.queues["shared"]["async"],
        MessageBody=json.dumps({"schema_version": 1, "job": named}),
        MessageGroupId="default",
    )
    laneway_service.run_jobs()

    ended = laneway_service.request("GET", "/v2/jobs/named-by-others", headers=mallory).json()
    assert (ended["status"], ended["attempt"]) == ("succeeded", 1)
    assert laneway_service.request("GET", "/v2/jobs/named-by-others").status == 404
