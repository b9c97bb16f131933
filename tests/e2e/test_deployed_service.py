"""Unmodified Triton clients, curl and the printed commands against the deployed service."""

from __future__ import annotations

import os
import stat
import subprocess
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import boto3
import httpx
import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from cli.dev.emulator import MAX_CONCURRENCY
from shared.inference.golden import GOLDEN_FILE, differences, read_cases
from tests.e2e.calls import aws_client
from tests.e2e.local_service import PROJECT, is_open

pytestmark = pytest.mark.deployed

MODELS = ("breast-cancer", "page-orientation", "sentence-embedding")


@pytest.fixture(scope="module")
def client(service):
    with triton.InferenceServerClient(service.address, network_timeout=60.0) as client:
        yield client


def case_of(model):
    return read_cases(PROJECT / "models" / model / GOLDEN_FILE)[0]


def inputs_of(case, *, binary, module=triton):
    tensors = []
    for tensor in case.request["inputs"]:
        array = np.array(tensor["data"], triton_to_np_dtype(tensor["datatype"]))
        tensors.append(module.InferInput(tensor["name"], tensor["shape"], tensor["datatype"]))
        tensors[-1].set_data_from_numpy(array.reshape(tensor["shape"]), binary_data=binary)
    return tensors


def outputs_of(case, *, binary, module=triton):
    return [
        module.InferRequestedOutput(output.name, binary_data=binary)
        for output in case.expected.outputs
    ]


def assert_golden(case, answer):
    outputs = {
        output["name"]: output | {"data": answer.as_numpy(output["name"]).ravel().tolist()}
        for output in answer.get_response()["outputs"]
    }
    assert differences(case, outputs) == []


def test_the_server_lives_and_is_ready(client, service):
    assert client.is_server_live(headers=service.headers)
    assert client.is_server_ready(headers=service.headers)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_ready_and_says_what_it_takes(client, service, model):
    assert client.is_model_ready(model, headers=service.headers)
    metadata = client.get_model_metadata(model, headers=service.headers)
    config = client.get_model_config(model, headers=service.headers)
    asked = case_of(model).request["inputs"]
    assert [entry["name"] for entry in metadata["inputs"]] == [entry["name"] for entry in asked]
    assert [entry["name"] for entry in config["input"]] == [entry["name"] for entry in asked]


def test_a_web_page_may_send_an_inference(service):
    page = {"origin": "http://localhost:5173"}
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}
    preflight = httpx.options(
        f"{service.endpoint}/v2/models/breast-cancer/infer", headers=page | asked, timeout=60
    )
    assert preflight.status_code == 204, preflight.text
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert "x-api-key" in preflight.headers["access-control-allow-headers"]

    answer = httpx.get(f"{service.endpoint}/v2", headers=page | service.headers, timeout=60)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "inference-header-content-length" in answer.headers["access-control-expose-headers"]


def test_the_index_lists_every_model_as_ready(client, service):
    index = client.get_model_repository_index(headers=service.headers)
    ready = {entry["name"] for entry in index if entry["state"] == "READY"}
    assert ready == set(MODELS)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_answers_are_those_of_the_original_library(client, service, model, binary, encoding):
    case = case_of(model)
    answer = client.infer(
        model,
        inputs_of(case, binary=binary),
        outputs=outputs_of(case, binary=binary),
        request_id="golden-1",
        headers=service.headers,
        request_compression_algorithm=encoding,
        response_compression_algorithm=encoding,
    )
    assert_golden(case, answer)
    assert answer.get_response()["id"] == "golden-1"


def test_a_version_can_be_named(client, service):
    case = case_of("breast-cancer")
    answers = {
        version: client.infer(
            "breast-cancer",
            inputs_of(case, binary=True),
            model_version=version,
            headers=service.headers,
        ).get_response()["model_version"]
        for version in ("1", "2")
    }
    assert answers == {"1": "1", "2": "2"}


@pytest.mark.asyncio
@pytest.mark.parametrize("model", MODELS)
async def test_the_asynchronous_client_gets_the_same_answers(service, model):
    case = case_of(model)
    async with triton_aio.InferenceServerClient(service.address) as client:
        assert await client.is_server_ready(headers=service.headers)
        answer = await client.infer(
            model,
            inputs_of(case, binary=True, module=triton_aio),
            outputs=outputs_of(case, binary=True, module=triton_aio),
            headers=service.headers,
        )
    assert_golden(case, answer)


def test_an_unknown_model_is_404_and_says_how_to_find_the_others(client, service):
    with pytest.raises(InferenceServerException, match="GET /v2/models") as refused:
        client.get_model_metadata("absent", headers=service.headers)
    assert refused.value.status() == "404"


def test_a_wrong_shape_is_400_and_names_the_input(client, service):
    tensor = triton.InferInput("features", [1, 3], "FP32")
    tensor.set_data_from_numpy(np.zeros((1, 3), np.float32))
    with pytest.raises(InferenceServerException, match="features") as refused:
        client.infer("breast-cancer", [tensor], headers=service.headers)
    assert refused.value.status() == "400"


def test_a_binary_body_under_a_textual_content_type_is_415_and_names_the_right_one(service):
    answer = httpx.post(
        f"{service.endpoint}/v2/models/breast-cancer/infer",
        content=b'{"inputs": []}',
        headers=service.headers
        | {"content-type": "application/json", "inference-header-content-length": "14"},
    )
    assert answer.status_code == 415
    assert "application/octet-stream" in answer.json()["error"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), ({"x-api-key": "lw_" + "x" * 43}, 403), ({"x-api-key": "guess"}, 403)],
    ids=["no key", "a key that nobody has", "not a key"],
)
@pytest.mark.parametrize("path", ["/v2/health/ready", "/v2/models/breast-cancer/infer"])
def test_nobody_gets_in_without_a_key(service, headers, status, path):
    method = "POST" if path.endswith("infer") else "GET"
    assert httpx.request(method, service.endpoint + path, headers=headers).status_code == status


def test_an_unknown_path_is_answered_by_us(service):
    answer = httpx.get(f"{service.endpoint}/nowhere", headers=service.headers)
    assert answer.status_code == 404
    assert {"error", "code", "request_id"} <= answer.json().keys()


def test_dev_json_says_how_to_reach_everything(service):
    facts = service.facts
    aws = facts["aws"]
    table = boto3.resource(
        "dynamodb",
        endpoint_url=aws["endpoint_url"],
        aws_access_key_id=aws["access_key_id"],
        aws_secret_access_key=aws["secret_access_key"],
        region_name=aws["region"],
    ).Table(facts["tables"]["keys"])
    stored = table.scan()["Items"]
    assert stored
    assert facts["api_key"] not in str(stored), "keys are stored as their SHA-256 alone"


def test_dev_json_is_for_its_owner_alone(service):
    assert stat.S_IMODE((service.state / "dev.json").stat().st_mode) == 0o600


def test_the_printed_commands_work_when_pasted(service):
    commands = [line for line in service.lines if line.startswith(("curl ", "LANEWAY_ENDPOINT="))]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LANEWAY_")}
    answers = [
        subprocess.run(
            ["sh", "-c", command], env=clean, capture_output=True, text=True, check=True, timeout=60
        ).stdout
        for command in commands
    ]
    assert len(answers) == 3
    assert '"outputs"' in answers[0]
    assert '"text-recognition"' in answers[1]
    assert "embedding" in answers[2]


def test_the_openapi_description_is_open_and_names_this_service_as_its_server(service):
    described = httpx.get(f"{service.endpoint}/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    assert described["servers"][0]["url"] == service.endpoint


def test_each_request_is_told_in_one_readable_line(service, client):
    mark = len(service.lines)
    case = case_of("breast-cancer")
    client.infer("breast-cancer", inputs_of(case, binary=True), headers=service.headers)
    # By status too: the line of an earlier test's refused request may come late.
    number = service.wait_for("200 breast-cancer 2", timeout_s=10, after=mark)
    line = service.lines[number]
    time.strptime(line.split()[0], "%H:%M:%S")
    assert " ms" in line
    assert "shared-realtime" in line


def test_a_refused_key_is_told_in_the_log(service):
    mark = len(service.lines)
    httpx.get(f"{service.endpoint}/v2", headers={"x-api-key": "lw_" + "y" * 43})
    service.wait_for("refused", timeout_s=10, after=mark)


def test_a_burst_makes_no_more_processes_than_the_cap(service):
    case = case_of("breast-cancer")
    url = f"{service.endpoint}/v2/models/breast-cancer/infer"

    def send(_number):
        return httpx.post(url, json=case.request, headers=service.headers, timeout=120).status_code

    with ThreadPoolExecutor(MAX_CONCURRENCY + 4) as pool:
        statuses = set(pool.map(send, range(2 * MAX_CONCURRENCY)))
    assert 200 in statuses
    assert statuses <= {200, 429}
    realtime = [c for c in service.processes() if "shared-realtime" in c]
    assert len(realtime) <= MAX_CONCURRENCY


def test_what_the_cdk_published_are_the_uncompressed_zips_that_were_made_for_it(service):
    zips = list((service.state / "cdk.out" / ".cache").glob("*.zip"))
    made = {path.name: path.stat().st_size for path in zips}
    s3 = aws_client(service, "s3")
    [bucket] = [b["Name"] for b in s3.list_buckets()["Buckets"] if "-assets-" in b["Name"]]
    published = {
        item["Key"]: item["Size"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]
    }

    assert made
    assert made.items() <= published.items()
    for path in zips:
        with zipfile.ZipFile(path) as archive:
            assert {item.compress_type for item in archive.infolist()} == {zipfile.ZIP_STORED}


def test_nothing_listens_beyond_this_machine(service):
    assert is_open(service.port)
    assert not is_open(service.port, host="127.0.0.2"), (
        "whoever binds every interface answers there"
    )
