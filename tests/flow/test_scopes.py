"""Which scope each call needs, against the whole service: with it alone one passes, without it one does not."""

from __future__ import annotations

import json
from secrets import token_hex

import pytest

from shared.keys import ApiKey, create_key, hash_key
from shared.principal import SCOPES
from shared.schema.scopes import ANY, NEEDED, NONE

TENSOR = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
BODY = {"inputs": [TENSOR]}
UNKNOWN = "0123456789abcdefghij"
CALLS = [
    (method, path, needed) for path, methods in NEEDED.items() for method, needed in methods.items()
]
NAMING = [(method, path) for method, path, _ in CALLS if "/{id}" in path and method != "PUT"]
"""Calls about a job or a batch that is there."""
ASKING = [
    (method, path, needed)
    for method, path, needed in CALLS
    if needed in ("infer", "submit") and (method, path) not in NAMING
]
"""Calls that say which model they are about."""
BODIES = {
    "/v2/jobs": {"model": "scale", "input": BODY},
    "/v2/jobs/{id}": {"model": "scale", "input": BODY},
    "/v2/batches": {"endpoint": "/v2/models/scale/infer", "input": "s3://nowhere/lines"},
    "/v2/uploads": {},
    "/v2/repository/index": {},
}


def call(service, method, path, headers, model="scale"):
    body = BODIES.get(path, BODY) if method in ("POST", "PUT") else b""
    filled = path.replace("{model}", model).replace("{version}", "2").replace("{id}", UNKNOWN)
    return service.request(method, filled, headers=headers, body=body)


@pytest.fixture(scope="module")
def with_scopes(laneway_service):
    """Headers of a caller with these scopes and no other, each made once; one may have none."""
    made = {}

    def headers(*scopes):
        if scopes not in made:
            secret = f"lw_{token_hex(21)}x"
            key = ApiKey(
                key_hash=hash_key(secret),
                key_id=token_hex(8),
                tenant=f"scoped-{token_hex(4)}",
                name="",
                created_at="2026-11-22T00:00:00.000+00:00",
                scopes=" ".join(scopes),
            )
            laneway_service.keys.put(key)
            made[scopes] = {"x-api-key": secret}
        return made[scopes]

    return headers


@pytest.mark.parametrize(("method", "path", "needed"), CALLS)
def test_a_call_needs_its_scope_and_no_other(laneway_service, with_scopes, method, path, needed):
    if needed == NONE:
        enough, too_little = [()], []
    elif needed == ANY:
        enough, too_little = [(scope,) for scope in SCOPES], [()]
    else:
        enough = [(needed,), ("admin",)]
        too_little = [(), tuple(scope for scope in SCOPES if scope not in (needed, "admin"))]
    for scopes in enough:
        assert call(laneway_service, method, path, with_scopes(*scopes)).status != 403
    for scopes in too_little:
        refused = call(laneway_service, method, path, with_scopes(*scopes))
        assert (refused.status, refused.json()["code"]) == (403, "forbidden")
        assert needed == ANY or f"scope {needed}" in refused.json()["error"]


def test_an_answer_for_later_is_a_job_and_needs_the_scope_of_one(laneway_service, with_scopes):
    def ask(*scopes):
        headers = {**with_scopes(*scopes), "prefer": "respond-async"}
        return laneway_service.request(
            "POST", "/v2/models/scale/infer", headers=headers, body=BODY
        ).status

    assert (ask("submit"), ask("submit:scale"), ask("infer"), ask("submit:shout")) == (
        202,
        202,
        403,
        403,
    )


@pytest.mark.parametrize(("method", "path", "scope"), ASKING)
def test_a_scope_for_another_model_does_not_open_a_call(
    laneway_service, with_scopes, method, path, scope
):
    allowed = call(laneway_service, method, path, with_scopes(f"{scope}:scale"))
    refused = call(laneway_service, method, path, with_scopes(f"{scope}:shout"))
    assert allowed.status != 403
    assert refused.status == (201 if path == "/v2/uploads" else 403)


@pytest.fixture(scope="module")
def work(laneway_service):
    """A job and a batch of each of two models, and a key of their tenant for one of these alone."""
    service = laneway_service
    tenant = f"narrow-{token_hex(4)}"
    whole, _ = create_key(service.keys, tenant=tenant)
    narrow, _ = create_key(service.keys, tenant=tenant, scopes=["read:scale", "submit:scale"])
    key = f"uploads/{tenant}/lines"
    service.resources.s3.put_object(Bucket=service.resources.bucket, Key=key, Body=b"\n")
    made = {}
    for model in ("scale", "queued"):
        headers = {"x-api-key": whole}
        job = {"model": model, "input": BODY}
        batch = {
            "endpoint": f"/v2/models/{model}/infer",
            "input": f"s3://{service.resources.bucket}/{key}",
            "not_before": "2100-01-01T00:00:00Z",
        }
        made[model, "jobs"] = service.request("POST", "/v2/jobs", headers=headers, body=job).json()[
            "id"
        ]
        made[model, "batches"] = service.request(
            "POST", "/v2/batches", headers=headers, body=batch
        ).json()["id"]
    yield {"x-api-key": narrow}, made
    service.run_jobs()


@pytest.mark.parametrize(("method", "path"), NAMING)
def test_a_scope_for_one_model_reads_and_cancels_what_is_of_that_model_alone(
    laneway_service, work, method, path
):
    narrow, made = work
    kind = "jobs" if "/jobs/" in path else "batches"
    statuses = [
        laneway_service.request(
            method, path.replace("{id}", made[model, kind]), headers=narrow
        ).status
        for model in ("scale", "queued")
    ]
    assert statuses[0] != 403
    assert statuses[1] == 403


def test_a_list_of_all_models_needs_the_scope_for_all(laneway_service, work):
    narrow, _ = work

    def listed(path):
        return laneway_service.request("GET", path, headers=narrow).status

    assert listed("/v2/jobs?model=scale") == 200
    assert (listed("/v2/jobs"), listed("/v2/jobs?model=queued"), listed("/v2/batches")) == (
        403,
        403,
        403,
    )


def test_what_is_refused_is_not_done(laneway_service, work):
    """The jobs of the other model stand as they stood, whatever the narrow key asked before."""
    _, made = work
    store = laneway_service.resources.dynamodb
    rows = store.scan(TableName=laneway_service.resources.jobs_table)["Items"]
    [row] = [row for row in rows if row["pk"]["S"].endswith(f"/{made['queued', 'jobs']}")]
    assert row["status"]["S"] == "queued"


def test_the_description_names_the_scope_of_every_call(laneway_service):
    document = json.loads(laneway_service.request("GET", "/openapi.json").body)
    described = {
        (method.upper(), path): operation["security"]
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in ("get", "post", "put")
    }
    own = {path for _, path in described if path.startswith("/v2/models/") and "{" not in path}
    assert own  # inference of single models has the scope of inference
    for (method, path), said in described.items():
        needed = "infer" if path in own else NEEDED[path][method]
        scopes = [] if needed in (NONE, ANY) else [needed]
        assert said == [{"apiKey": scopes}, {"token": scopes}, {"signature": scopes}]
    assert {(method, path) for method, path, _ in CALLS} <= described.keys()
