"""What the API's description allows, and what it does not: no failure of ours, and answers as described.

schemathesis makes calls out of the OpenAPI document of a service in this process. Every run asks the
same. LANEWAY_API_EXAMPLES=200 asks each call so often, and another LANEWAY_API_SEED something else.
"""

from __future__ import annotations

import json
import os
import shutil

import orjson
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.core.transport import Response

from cli.testing import start_service
from shared.catalog import parse_catalog
from shared.repository import compile_catalog, read_repository
from shared.schema.compile import export_validators
from shared.schema.openapi import build_openapi
from tests.fixtures.small_models import write_repository

EXAMPLES = int(os.environ.get("LANEWAY_API_EXAMPLES", "5"))
SEED = int(os.environ.get("LANEWAY_API_SEED", "1"))
URL = "http://laneway.test"
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
TOLD = {"model_output_non_finite", "model_unavailable"}
"""Codes of 5xx that are answers: a finite input overflowed; a model that is asked for is not ready."""
X = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}
TEXT = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}
REQUEST = {"inputs": [X]}
BODIES = {
    "InferenceRequest": [REQUEST, {**REQUEST, "id": "a"}, {"inputs": [TEXT]}],
    "JobSubmission": [
        {"model": "scale", "input": REQUEST},
        {"model": "queued", "input": REQUEST, "latency_class": "batch", "ttl_s": 60},
        {"model": "shout", "input_base64": "e30=", "header_length": 0},
    ],
    "BatchSubmission": [{"endpoint": "/v2/models/scale/infer", "input": ""}],
}
"""Bodies that get further than most that are made up."""
LATER = {"Prefer": "respond-async", "Idempotency-Key": "the same for all"}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Without the models that are there to fail: they would, as they should."""
    folder = write_repository(tmp_path_factory.mktemp("models"))
    for name in ("stuck", "root"):
        shutil.rmtree(folder / name)
    return folder


@pytest.fixture(scope="module")
def service(models):
    with start_service(models) as service:
        yield service


@pytest.fixture(scope="module")
def known(service):
    """Ids of a job that has ended, one that waits, one that was canceled, and of a batch."""
    for name in ("ended", "waits", "canceled"):
        body = {"model": "scale", "input": REQUEST}
        assert service.request("PUT", f"/v2/jobs/{name}", body=body).status == 202
        if name == "ended":
            assert service.run_jobs() == 1
    assert service.request("POST", "/v2/jobs/canceled/cancel").status == 200
    BODIES["BatchSubmission"][0]["input"] = f"s3://{service.resources.bucket}/uploads/default/a"
    batch = service.request("POST", "/v2/batches", body=BODIES["BatchSubmission"][0])
    assert batch.status == 202, batch.body
    return ("ended", "waits", "canceled", batch.json()["id"])


@pytest.fixture(scope="module")
def described(models):
    compiled = compile_catalog(read_repository(models)) | {"validators": export_validators()}
    document = orjson.loads(orjson.dumps(build_openapi(parse_catalog(compiled), server_url=URL)))
    found = schemathesis.openapi.from_dict(document).get_all_operations()
    return [operation.ok() for operation in found]


@pytest.mark.timeout(60 + EXAMPLES * 30)
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_no_call_of_the_description_meets_a_failure_of_ours(service, known, described, mode):
    statuses = set()
    for operation in described:
        if mode is GenerationMode.NEGATIVE and not takes_anything(operation):
            continue
        statuses |= ask(service, operation, mode, examples=EXAMPLES)
        for way in ways(operation, known) if mode is GenerationMode.POSITIVE else ():
            statuses |= ask(service, operation, mode, examples=1, **way)
    assert statuses >= MET[mode]


def ask(service, operation, mode, *, examples, **way):
    """Make so many calls; gives the statuses of their answers."""
    found = set()

    @seed(SEED)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(mode))
    def call(case):
        found.add(check(service, get_further(case, **way)))

    call()
    return found


MET = {
    GenerationMode.POSITIVE: {200, 201, 202, 400, 404, 409, 410},
    GenerationMode.NEGATIVE: {400, 404},
}
"""Statuses without which the calls did not get as far as they should."""


def takes_anything(operation):
    """Whether a call can be made wrongly at all."""
    return bool(operation.body or operation.query or operation.path_parameters)


def ways(operation, known):
    """Ids that are there, and bodies and headers that are good, to get further than what is made up."""
    ids = [{"name": name} for name in known] if "{id}" in operation.path else []
    bodies = operation.definition.raw.get("requestBody", {}).get("content", {})
    schema = bodies.get("application/json", {}).get("schema", {}).get("$ref", "")
    good = [{"body": body} for body in BODIES.get(schema.rpartition("/")[2], ())]
    found = [{**a, **b} for a in ids or [{}] for b in good or [{}] if a or b]
    if operation.path.endswith("/infer"):
        found += [{**way, "headers": LATER} for way in found]
    return found


def get_further(case, *, name=None, body=None, headers=None):
    case.headers.update(headers or {})
    if name is not None:
        case.path_parameters["id"] = name
    if body is not None:
        case.body, case.media_type = body, "application/json"
    return case


def check(service, case):
    """Ask, hold the answer against the description, and give its status."""
    sent = requests.Request(**_arguments(case)).prepare()
    body = sent.body.encode() if isinstance(sent.body, str) else sent.body or b""
    headers = {**sent.headers, **service.headers}
    answer = service.gateway.handle(sent.method, sent.path_url, headers, body)
    told = f"{sent.method} {sent.path_url} {body[:500]!r}\n{answer.status} {answer.body[:500]!r}"
    code = None if answer.status < 400 else json.loads(answer.body).get("code")
    assert answer.status < 500 or code in TOLD, told
    response = Response(
        status_code=answer.status,
        headers={name: [value] for name, value in answer.headers.items()},
        content=answer.body,
        request=sent,
        elapsed=0.0,
        verify=False,
    )
    case.validate_response(response, checks=CHECKS)
    return answer.status


def _arguments(case):
    given = case.as_transport_kwargs(base_url=URL)
    return {name: given[name] for name in given if name != "timeout"}
