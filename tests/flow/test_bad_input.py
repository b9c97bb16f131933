"""What bad input gets: a 4xx in the protocol's shape with the field and the fact, never a 500."""

from __future__ import annotations

import gzip
import json
import struct
import zlib

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.limits import BINARY_BODY_BYTES_MAX, BODY_BYTES_MAX, DECODED_BODY_BYTES_MAX

INFER = "/v2/models/scale/infer"
BINARY = {"content-type": "application/octet-stream"}
HEADER_LENGTH = "inference-header-content-length"


def x(**changes):
    """A request to `scale` that is good but for the changes to its input."""
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]} | changes
    return {"inputs": [{name: value for name, value in tensor.items() if value is not None}]}


def binary(tail, *, size=None, shape=(1, 2)):
    """A good request in binary form but for its tail or the size that it declares."""
    header = orjson.dumps(
        x(
            data=None,
            shape=list(shape),
            parameters={"binary_data_size": len(tail) if size is None else size},
        )
    )
    return header + tail, {**BINARY, HEADER_LENGTH: str(len(header))}


AGAINST_THE_SIGNATURE = {
    "unknown input": (x(name="z"), "inputs[0].name", "'z'"),
    "missing input": ({"inputs": []}, "inputs", None),
    "no inputs member": ({}, "inputs", None),
    "input named twice": ({"inputs": x()["inputs"] * 2}, "inputs[1].name", "twice"),
    "wrong datatype": (x(datatype="INT64", data=[1, 2]), "inputs[0].datatype", "FP32"),
    "unknown datatype": (x(datatype="FP8"), "inputs[0].datatype", "FP8"),
    "too few elements": (x(data=[1.0]), "inputs[0]", None),
    "too many elements": (x(data=[1.0, 2.0, 3.0]), "inputs[0]", None),
    "no data": (x(data=None), "inputs[0]", None),
    "negative shape": (x(shape=[-1, 2]), "inputs[0].shape", "-1"),
    "overflowing shape": (x(shape=[2**40, 2]), "inputs[0].shape", None),
    "shape past 64 bits": (x(shape=[2**70, 2]), "inputs[0].shape", None),
    "shape of texts": (x(shape=["1", "2"]), "inputs[0].shape", None),
    "wrong rank": (x(shape=[2]), "inputs[0].shape", None),
    "wrong fixed dimension": (x(shape=[1, 3], data=[1, 2, 3]), "inputs[0].shape", "3"),
    "ragged list": (x(shape=[2, 2], data=[[1, 2], [3]]), "inputs[0].data", None),
    "text for numbers": (x(data=["1", "2"]), "inputs[0].data", None),
    "null for a number": (x(data=[1.0, None]), "inputs[0].data", None),
    "an object for data": (x(data={"a": 1}), "inputs[0].data", None),
    "a number past float32": (x(data=[1e39, 2]), "inputs[0].data", None),
    "an unknown output": (x() | {"outputs": [{"name": "q"}]}, "outputs[0].name", "'q'"),
    "an output twice": (x() | {"outputs": [{"name": "y"}] * 2}, "outputs[1].name", "twice"),
    "id not a text": (x() | {"id": 7}, "id", None),
    "parameters not simple": (x() | {"parameters": {"a": []}}, "parameters", None),
    "not an object": ([1, 2], None, None),
}


@pytest.mark.parametrize("case", AGAINST_THE_SIGNATURE)
def test_a_request_against_the_signature_is_400_with_the_field(laneway_service, case):
    body, field, fact = AGAINST_THE_SIGNATURE[case]
    answer = laneway_service.request("POST", INFER, body=body)
    error = refused(answer, 400)
    if field is not None:
        assert error["field"].startswith(field), error
    if fact is not None:
        assert fact in error["error"]


def refused(answer, status, code=None):
    """The error of an answer in the protocol's shape."""
    assert answer.status == status, answer.body
    error = answer.json()
    assert isinstance(error["error"], str)
    assert error["error"]
    assert error["code"] == (code or error["code"])
    assert error["request_id"]
    return error


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity"])
def test_a_non_finite_number_is_refused_where_the_model_does_not_allow_it(laneway_service, token):
    body = json.dumps(x()).replace("2.0", token).encode()
    answer = laneway_service.request("POST", INFER, body=body)
    assert refused(answer, 400, "non_finite_input")["field"] == "inputs[0].data"


def test_a_non_finite_number_is_refused_in_binary_too(laneway_service):
    body, headers = binary(struct.pack("<2f", 1.0, float("nan")))
    refused(
        laneway_service.request("POST", INFER, body=body, headers=headers), 400, "non_finite_input"
    )


def test_a_non_finite_answer_is_an_error_in_json_and_is_sent_in_binary(laneway_service):
    minus = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [-1]}]}
    answer = laneway_service.request("POST", "/v2/models/root/infer", body=minus)
    refused(answer, 500, "model_output_non_finite")
    minus["parameters"] = {"binary_data_output": True}
    answer = laneway_service.request("POST", "/v2/models/root/infer", body=minus)
    assert answer.status == 200
    [value] = struct.unpack("<f", answer.body[int(answer.headers[HEADER_LENGTH]) :])
    assert value != value  # noqa: PLR0124 - only NaN differs from itself


@pytest.mark.parametrize(
    ("tail", "size", "shape"),
    [
        (b"\0" * 7, None, (1, 2)),
        (b"\0" * 12, None, (1, 2)),
        (b"\0" * 8, 16, (1, 2)),
        (b"\0" * 12, 8, (1, 2)),
        (b"\0" * 8, -8, (1, 2)),
        (b"", 0, (1, 2)),
        (b"\0" * 8, "8", (1, 2)),
    ],
    ids=[
        "too few bytes",
        "more than the shape",
        "declared past the body",
        "left over",
        "negative",
        "none for two elements",
        "not a number",
    ],
)
def test_binary_data_that_does_not_fit_is_400(laneway_service, tail, size, shape):
    body, headers = binary(tail, size=size, shape=shape)
    error = refused(laneway_service.request("POST", INFER, body=body, headers=headers), 400)
    assert error["field"].startswith("inputs")


@pytest.mark.parametrize("length", ["-1", "1e3", "abc", "999999", "9" * 5000, " ", "0x10", "٣"])
def test_a_bad_header_length_is_400(laneway_service, length):
    body, headers = binary(b"\0" * 8)
    answer = laneway_service.request(
        "POST", INFER, body=body, headers=headers | {HEADER_LENGTH: length}
    )
    refused(answer, 400, "malformed_body")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b'"inputs"',
        b"\xff\xfe\x00",
        b'{"id":"\xff"}',
        b"[" * 100_000 + b"]" * 100_000,
        b'{"inputs":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"inputs":' * 100_000,
        b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":'
        + b"[" * 900
        + b"]" * 900
        + b"}]}",
    ],
    ids=[
        "empty",
        "cut",
        "null",
        "text",
        "not UTF-8",
        "text not UTF-8",
        "arrays 100,000 deep",
        "inputs 100,000 deep",
        "objects 100,000 deep",
        "data 900 deep",
    ],
)
@pytest.mark.parametrize("content_type", ["application/json", "application/octet-stream"])
def test_a_body_that_is_no_request_is_400(laneway_service, body, content_type):
    headers = {"content-type": content_type}
    refused(laneway_service.request("POST", INFER, body=body, headers=headers), 400)


def test_ten_million_numbers_are_413_however_they_travel(laneway_service):
    body = b'{"inputs":[{"name":"x","shape":[5000000,2],"datatype":"FP32","data":[%s0]}]}' % (
        b"0," * 9_999_999
    )
    plain = laneway_service.request("POST", INFER, body=body, headers=BINARY)
    assert (plain.status, plain.json()) == (413, {"message": "Request Too Long"})  # the gateway's
    packed = {**BINARY, "content-encoding": "gzip"}
    answer = laneway_service.request("POST", INFER, body=gzip.compress(body, 1), headers=packed)
    refused(answer, 413, "too_large")


def test_a_body_past_the_limit_is_413_with_the_way_out(laneway_service):
    text = b" " * (BODY_BYTES_MAX + 1)
    answer = laneway_service.request(
        "POST", INFER, body=text, headers={"content-type": "application/json"}
    )
    assert "gzip" in refused(answer, 413, "too_large")["error"]
    answer = laneway_service.request(
        "POST", INFER, body=b"\0" * (BINARY_BODY_BYTES_MAX + 1), headers=BINARY
    )
    assert str(BINARY_BODY_BYTES_MAX) in refused(answer, 413, "too_large")["error"]


def test_an_answer_past_the_limit_is_413_with_the_way_out(laneway_service):
    rows = BINARY_BODY_BYTES_MAX // 8 - 50
    tail = struct.pack("<f", 1.1) * (2 * rows)
    body, headers = binary(tail, shape=(rows, 2))
    answer = laneway_service.request("POST", INFER, body=body, headers=headers)
    error = refused(answer, 413, "too_large")
    assert "the answer has" in error["error"]
    assert "binary_data_output" in error["error"]


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_a_bomb_is_413_without_being_unpacked(laneway_service, encoding, pack):
    bomb = pack(b" " * (DECODED_BODY_BYTES_MAX + 1))
    answer = laneway_service.request(
        "POST", INFER, body=bomb, headers={**BINARY, "content-encoding": encoding}
    )
    refused(answer, 413, "too_large")


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (b"not gzip", "gzip", 400),
        (gzip.compress(b"{}", mtime=0)[:-4], "gzip", 400),
        (b"{}", "br", 415),
        (b"{}", "gzip, deflate", 415),
    ],
)
def test_a_content_encoding_that_cannot_be_undone_is_refused(
    laneway_service, body, encoding, status
):
    answer = laneway_service.request(
        "POST", INFER, body=body, headers={**BINARY, "content-encoding": encoding}
    )
    refused(answer, status)


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/xml"])
@pytest.mark.parametrize("header", ["content-encoding", HEADER_LENGTH])
def test_a_binary_body_under_a_textual_content_type_is_415(laneway_service, content_type, header):
    body, _ = binary(b"\xff" * 8)
    headers = {"content-type": content_type, header: "gzip" if "enc" in header else "100"}
    answer = laneway_service.request("POST", INFER, body=body, headers=headers)
    assert "application/octet-stream" in refused(answer, 415)["error"]


def test_a_transform_that_refuses_is_400_with_its_words(laneway_service):
    body = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [""]}]}
    answer = laneway_service.request("POST", "/v2/models/shout/infer", body=body)
    assert "text is empty" in refused(answer, 400, "transform_refused")["error"]


def test_an_unknown_version_names_the_served_ones(laneway_service):
    answer = laneway_service.request("POST", "/v2/models/scale/versions/9/infer", body=x())
    error = refused(answer, 404, "version_not_found")
    assert "2, 1" in error["error"] or "1, 2" in error["error"]


def test_an_unknown_model_is_404_and_says_where_to_look(laneway_service):
    answer = laneway_service.request("POST", "/v2/models/absent/infer", body=x())
    assert "GET /v2/models" in refused(answer, 404, "model_not_found")["error"]


def test_a_model_without_class_realtime_says_which_classes_it_has(laneway_service):
    answer = laneway_service.request("POST", "/v2/models/queued/infer", body=x())
    error = refused(answer, 400, "latency_class_not_offered")
    assert "'async'" in error["error"]
    assert "'batch'" in error["error"]


def test_a_run_that_does_not_end_is_stopped_at_the_deadline(laneway_service):
    body = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}
    answer = laneway_service.request("POST", "/v2/models/stuck/infer", body=body)
    refused(answer, 503, "deadline_exceeded")
    assert laneway_service.client.infer("scale", {"x": [[1.0, 2.0]]})["y"].tolist() == [[3.0, 6.0]]


def test_members_that_the_protocol_does_not_know_are_tolerated(laneway_service):
    answer = laneway_service.request("POST", INFER, body=x() | {"model_name": "scale", "extra": {}})
    assert answer.status == 200


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    body=st.binary(max_size=400),
    length=st.none() | st.integers(-2, 500).map(str) | st.text("0123456789+- _", max_size=6),
    encoding=st.sampled_from([None, "gzip", "deflate", "identity", "br"]),
    content_type=st.sampled_from([None, "application/json", "application/octet-stream"]),
)
def test_no_bytes_at_all_make_a_500(laneway_service, body, length, encoding, content_type):
    headers = {HEADER_LENGTH: length, "content-encoding": encoding, "content-type": content_type}
    given_headers = {name: value for name, value in headers.items() if value is not None}
    answer = laneway_service.request("POST", INFER, body=body, headers=given_headers)
    assert answer.status < 500, answer.body
    if answer.status != 200:
        refused(answer, answer.status)
