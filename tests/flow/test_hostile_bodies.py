"""The same wrong request by every way in: refused once, in the same words, and never tried again.

By a call on the spot, as a job over HTTP, as a message that a user drops on a queue, and as the line
of a batch.
"""

from __future__ import annotations

import gzip
import json
import struct

import orjson
import pytest

from cli.testing import start_service
from shared.limits import (
    BINARY_BODY_BYTES_MAX,
    BODY_BYTES_MAX,
    CONTROL_BODY_BYTES_MAX,
    DECODED_BODY_BYTES_MAX,
    HTTP_API_PAYLOAD_BYTES,
    MIB,
)

INFER = "/v2/models/scale/infer"
BINARY = {"content-type": "application/octet-stream"}
TENSOR = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}


def x(**changes):
    """A request as text, good but for the changes to its input."""
    return json.dumps({"inputs": [TENSOR | changes]})


def deep(levels):
    return x(data=0).replace('"data": 0', f'"data": {"[" * levels}1{"]" * levels}')


WRONG = {
    "rank": (x(shape=[2]), "signature_mismatch", "inputs[0].shape"),
    "fixed dimension": (x(shape=[1, 3], data=[1, 2, 3]), "signature_mismatch", "inputs[0].shape"),
    "datatype": (x(datatype="INT64", data=[1, 2]), "signature_mismatch", "inputs[0].datatype"),
    "name": (x(name="z"), "signature_mismatch", "inputs[0].name"),
    "zero rows with data": (x(shape=[0, 2]), "signature_mismatch", "inputs[0].data"),
    "too few elements": (x(data=[1.0]), "signature_mismatch", "inputs[0].data"),
    "ragged": (x(shape=[2, 2], data=[[1, 2], [3]]), "signature_mismatch", "inputs[0].data"),
    "text": (x(data=["1", "2"]), "signature_mismatch", "inputs[0].data"),
    "null": (x(data=[1.0, None]), "signature_mismatch", "inputs[0].data"),
    "past float32": (x(data=[1e39, 2.0]), "signature_mismatch", "inputs[0].data"),
    "negative dimension": (x(shape=[-1, 2]), "invalid_request", "inputs[0].shape[0]"),
    "huge dimension": (x(shape=[2**40, 2]), "signature_mismatch", "inputs[0].shape"),
    "no inputs": ('{"inputs":[]}', "invalid_request", "inputs"),
    "data 900 deep": (deep(900), "signature_mismatch", "inputs[0].data"),
}
"""Requests that are JSON: the code and field of their refusal."""
NOT_JSON = {
    "deep": lambda entry: deep(450_000 if entry == "message" else 1_000_000),
    "less deep": lambda _: deep(100_000),
    "past float64": lambda _: x().replace("1.0", "1e400"),
    "lone surrogate": lambda _: x(name="x").replace('"x"', r'"\ud800"'),
    "control character": lambda _: x().replace('"x"', '"x\x01"'),
    "cut": lambda _: x()[:-2],
    "followed by more": lambda _: x() + "{}",
}
"""Requests that are none: malformed, and a message is put aside."""


@pytest.fixture(scope="module")
def service(small_models):
    with start_service(small_models) as service:
        yield service


def put_lines(service, name, lines):
    resources = service.resources
    key = f"uploads/default/{name}"
    resources.s3.put_object(Bucket=resources.bucket, Key=key, Body=b"\n".join(lines))
    batch = {"endpoint": INFER, "input": f"s3://{resources.bucket}/{key}"}
    answer = service.request("POST", "/v2/batches", body=batch)
    assert answer.status == 202, answer.body
    return answer.json()["id"]


def errors_of(service, batch):
    page = service.request("GET", f"/v2/batches/{batch}").json()
    assert page["status"] == "succeeded", page
    bucket, _, key = page["files"]["errors"]["uri"].removeprefix("s3://").partition("/")
    data = service.resources.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    return [orjson.loads(line) for line in data.splitlines()]


def line(name, request):
    return (f'{{"custom_id":"{name}","method":"POST","url":"{INFER}","body":{request}}}').encode()


def job(name, request, *, message=False):
    version = f'"schema_version":1,"id":"{name}",' if message else ""
    return f'{{{version}"model":"scale","input":{request}}}'


def drop(service, text):
    url = service.resources.queues["shared"]["async"]
    service.resources.sqs.send_message(QueueUrl=url, MessageBody=text)


def dead_letters(service):
    url = service.resources.dead_letters["shared"]["async"]
    found = []
    while received := service.resources.sqs.receive_message(
        QueueUrl=url,
        MaxNumberOfMessages=10,
        MessageAttributeNames=["All"],
        WaitTimeSeconds=0,
    ).get("Messages"):
        for message in received:
            service.resources.sqs.delete_message(
                QueueUrl=url, ReceiptHandle=message["ReceiptHandle"]
            )
        found += received
    return found


@pytest.fixture(scope="module")
def told(service):
    """By entry and case: code and field of the refusal; all are asked before the queues are worked off."""
    found = {}
    batch = put_lines(
        service, "wrong", [line(f"w{n}", wrong[0]) for n, wrong in enumerate(WRONG.values())]
    )
    for number, (case, (request, _, _)) in enumerate(WRONG.items()):
        for entry, path, body in (
            ("realtime", INFER, request),
            ("job", "/v2/jobs", job("", request)),
        ):
            answer = service.request("POST", path, body=body.encode(), headers=BINARY)
            error = answer.json()
            # what only the model's run finds is accepted as a job, and ends it
            name = error["id"] if answer.status == 202 else None
            found[entry, case] = name or (answer.status, error["code"], error.get("field"))
        drop(service, job(f"m{number}", request, message=True))
    delivered = service.run_jobs()
    for number, case in enumerate(WRONG):
        if isinstance(found["job", case], str):
            found["job", case] = ended(service, found["job", case])
        found["message", case] = ended(service, f"m{number}")
    for case, error in zip(WRONG, errors_of(service, batch), strict=True):
        body = error["response"]["body"]
        found["line", case] = (error["response"]["status_code"], body["code"], body.get("field"))
    accepted = sum(found["job", case][2] is None for case in WRONG)
    return found, delivered - accepted


def ended(service, name):
    page = service.request("GET", f"/v2/jobs/{name}").json()
    assert (page["status"], page["attempt"]) == ("failed", 1), page
    return (400, page["error"]["code"], None)


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("entry", ["realtime", "job", "message", "line"])
def test_a_request_against_the_signature_is_refused_alike_by_every_way_in(told, entry, case):
    _, code, field = WRONG[case]
    status, found, where = told[0][entry, case]
    assert (status, found) == (400, code)
    if where is not None:
        assert where.startswith(field.partition(".")[0])
    assert entry in ("message", "job") or where == field


def test_nothing_that_was_refused_was_delivered_twice(told, service):
    batch_messages = 3  # to the splitter, the worker and the finisher
    assert told[1] == len(WRONG) + batch_messages
    assert service.run_jobs() == 0


@pytest.mark.parametrize("case", NOT_JSON)
def test_what_is_no_json_is_refused_by_every_way_in_and_never_tried_again(service, case):
    request = NOT_JSON[case]
    refusal = (413, "too_large") if case == "deep" else (400, "malformed_body")
    for path, body in ((INFER, request("realtime")), ("/v2/jobs", job("", request("job")))):
        answer = service.request("POST", path, body=body.encode(), headers=BINARY)
        assert (answer.status, answer.json()["code"]) == refusal, answer.body
    batch = put_lines(service, "broken", [line("a", request("line")), line("b", x())])
    if case != "control character":  # which no queue takes
        drop(service, job("never", request("message"), message=True))
    service.run_jobs()
    [error] = errors_of(service, batch)
    assert (error["response"]["status_code"], error["error"]["code"]) == refusal
    assert service.request("GET", "/v2/jobs/never").status == 404
    buried = dead_letters(service)
    reason = "the message is not parsed" if case == "deep" else "the message is not JSON:"
    told = [item["MessageAttributes"]["reason"]["StringValue"] for item in buried]
    assert len(told) == (case != "control character")
    assert all(item.startswith(reason) for item in told)
    assert service.run_jobs() == 0


SPECIAL = (0.0, -0.0, 1e-45, -1e-45, 1.1754943508222875e-38, 3.4e37, 16777217.0)


@pytest.mark.parametrize("lane", ["realtime", "job"])
def test_special_numbers_come_out_bit_for_bit_in_json_and_in_binary(service, lane):
    request = json.loads(x(shape=[len(SPECIAL), 2], data=[v for v in SPECIAL for _ in (1, 2)]))
    expected = [struct.unpack("<f", struct.pack("<f", v))[0] for v in SPECIAL for _ in (1, 2)]
    expected = [struct.unpack("<f", struct.pack("<f", 3 * v))[0] for v in expected]
    for form in ({}, {"parameters": {"binary_data_output": True}}):
        if lane == "realtime":
            answer = service.request("POST", INFER, body=request | form)
        else:
            made = service.request(
                "POST", "/v2/jobs", body={"model": "scale", "input": request | form}
            )
            assert service.run_jobs() == 1
            answer = service.request("GET", f"/v2/jobs/{made.json()['id']}/result")
        assert answer.status == 200
        if form:
            tail = answer.body[int(answer.headers["inference-header-content-length"]) :]
            found = struct.unpack(f"<{len(expected)}f", tail)
        else:
            found = [float(v) for v in answer.json()["outputs"][0]["data"]]
        assert struct.pack(f"<{len(expected)}f", *found) == struct.pack(
            f"<{len(expected)}f", *expected
        )


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity"])
def test_non_finite_input_is_refused_by_every_way_in_that_can_carry_it(service, token):
    request = x().replace("2.0", token)
    answer = service.request("POST", INFER, body=request.encode(), headers=BINARY)
    assert (answer.status, answer.json()["code"]) == (400, "non_finite_input")
    made = service.request("POST", "/v2/jobs", body=job("", request).encode(), headers=BINARY)
    batch = put_lines(service, "infinite", [line("a", request)])
    drop(service, job("never", request, message=True))
    service.run_jobs()
    assert ended(service, made.json()["id"])[1] == "non_finite_input"
    [error] = errors_of(service, batch)
    assert error["response"]["body"]["code"] == "non_finite_input"
    [buried] = dead_letters(service)  # a message is JSON, which has no such word
    assert "not JSON" in buried["MessageAttributes"]["reason"]["StringValue"]


def test_an_output_that_is_not_finite_is_never_json(service):
    minus = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [-1]}]}
    past = json.loads(x(data=[3e38, 3e38]))  # finite, and three times as much is not
    for model, request in (("root", minus), ("scale", past)):
        answer = service.request("POST", f"/v2/models/{model}/infer", body=request)
        assert (answer.status, answer.json()["code"]) == (500, "model_output_non_finite")
        made = service.request("POST", "/v2/jobs", body={"model": model, "input": request}).json()
        service.run_jobs()
        answer = service.request("GET", f"/v2/jobs/{made['id']}/result")
        assert (answer.status, answer.json()["code"]) == (500, "model_output_non_finite")


@pytest.mark.parametrize("size_bytes", [6 * MIB, 8 * MIB, 11 * MIB])
@pytest.mark.parametrize("path", [INFER, "/v2/jobs", "/v2/batches", "/v2/uploads"])
def test_a_body_past_lambda_s_limit_is_413_at_every_address(service, path, size_bytes):
    for content_type in ("application/json", "application/octet-stream"):
        headers = {"content-type": content_type}
        answer = service.request("POST", path, body=b" " * size_bytes, headers=headers)
        assert answer.status == 413
        by_gateway = size_bytes > HTTP_API_PAYLOAD_BYTES
        assert ("message" in answer.json()) is by_gateway
    assert BINARY_BODY_BYTES_MAX < BODY_BYTES_MAX < 6 * MIB


@pytest.mark.parametrize(
    ("path", "cap_bytes"),
    [
        (INFER, DECODED_BODY_BYTES_MAX),
        ("/v2/jobs", DECODED_BODY_BYTES_MAX),
        ("/v2/batches", CONTROL_BODY_BYTES_MAX),
        ("/v2/uploads", CONTROL_BODY_BYTES_MAX),
        ("/v2/repository/index", CONTROL_BODY_BYTES_MAX),
    ],
)
def test_what_a_body_unpacks_into_has_a_cap_at_every_address(service, path, cap_bytes):
    packed = {**BINARY, "content-encoding": "gzip"}
    bomb = gzip.compress(b" " * (cap_bytes + 1), 1)
    answer = service.request("POST", path, body=bomb, headers=packed)
    assert (answer.status, answer.json()["code"]) == (413, "too_large")
    assert str(cap_bytes) in answer.json()["error"]
    fits = service.request("POST", path, body=gzip.compress(b" " * cap_bytes, 1), headers=packed)
    assert fits.status != 413 or "JSON part" in fits.json()["error"]


@pytest.mark.parametrize("path", [INFER, "/v2/jobs", "/v2/batches", "/v2/uploads"])
def test_bytes_that_are_no_utf_8_are_400_and_binary_sent_as_text_is_415(service, path):
    answer = service.request("POST", path, body=b'{"a":"\xff\xfe"}', headers=BINARY)
    assert (answer.status, answer.json()["code"]) == (400, "malformed_body")
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    answer = service.request("POST", path, body=gzip.compress(b"{}"), headers=headers)
    assert (answer.status, answer.json()["code"]) == (415, "unsupported_media_type")


def test_of_a_name_that_comes_twice_the_last_counts_in_every_lane(service):
    twice = x().replace('"data"', '"data": [7.0, 7.0], "data"')
    lenient = twice.replace("7.0, 7.0", "NaN, 7.0")  # read by the other parser
    asked = [
        service.request("POST", INFER, body=body.encode(), headers=BINARY).json()["outputs"][0][
            "data"
        ]
        for body in (x(), twice, lenient)
    ]
    drop(service, job("twice", twice, message=True))
    made = service.request("POST", "/v2/jobs", body=job("", twice).encode(), headers=BINARY).json()
    service.run_jobs()
    for name in ("twice", made["id"]):
        answer = service.request("GET", f"/v2/jobs/{name}/result").json()
        asked.append(answer["outputs"][0]["data"])
    assert asked == [[3.0, 6.0]] * 5


@pytest.mark.parametrize("text", ["\0", "\u2028\ufffe\uffff", "\U0001f600", "\x7f\x1f"])
def test_odd_characters_travel_through_every_lane_and_queues_carry_ascii_alone(service, text):
    request = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}]}
    name = f"odd-{ord(text[0])}"
    answer = service.request("POST", "/v2/models/shout/infer", body=request)
    assert answer.json()["outputs"][0]["data"][0].startswith(text)
    made = service.request(
        "POST", "/v2/jobs", body={"model": "shout", "input": request, "metadata": {"a": text}}
    ).json()
    url = service.resources.queues["shared"]["async"]
    [sent] = service.resources.sqs.receive_message(
        QueueUrl=url, VisibilityTimeout=0, WaitTimeSeconds=0
    )["Messages"]
    assert sent["Body"].isascii()
    assert sent["Body"].isprintable()
    drop(service, json.dumps({"schema_version": 1, "id": name, "model": "shout", "input": request}))
    service.run_jobs()
    for accepted in (name, made["id"]):
        result = service.request("GET", f"/v2/jobs/{accepted}/result").json()
        assert result["outputs"] == answer.json()["outputs"]
    assert service.request("GET", f"/v2/jobs/{made['id']}").json()["metadata"] == {"a": text}
