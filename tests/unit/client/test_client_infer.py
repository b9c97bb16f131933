"""What the client puts on the wire and what it makes of an answer, against a real HTTP server."""

import gzip
import json
import struct
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

from cli.client import InputError, Laneway, ProtocolError, Tensor
from tests.unit.client.recording_server import Answer, json_answer

METADATA = {
    "name": "iris",
    "versions": ["1"],
    "platform": "onnx_onnxv1",
    "inputs": [
        {"name": "x", "datatype": "FP32", "shape": [-1, 4]},
        {"name": "note", "datatype": "BYTES", "shape": [-1]},
    ],
    "outputs": [{"name": "y", "datatype": "INT64", "shape": [-1]}],
}
ANSWER = {
    "model_name": "iris",
    "model_version": "1",
    "id": "42",
    "outputs": [{"name": "y", "shape": [2], "datatype": "INT64", "data": [0, 2]}],
}


@pytest.fixture
def client(server):
    server.on("/v2/models/iris", json_answer(METADATA))
    server.will_answer(json_answer(ANSWER))
    with Laneway(server.endpoint) as client:
        yield client


def test_an_array_travels_packed_after_the_header_and_asks_for_binary_outputs(client, server):
    x = np.array([[5.1, 3.5, 1.4, 0.2]], dtype=np.float32)

    client.infer("iris", {"x": x}, request_id="42")

    (received,) = server.received
    assert (received.method, received.path) == ("POST", "/v2/models/iris/infer")
    assert received.headers["content-type"] == "application/octet-stream"
    assert received.header_json() == {
        "id": "42",
        "inputs": [
            {
                "name": "x",
                "shape": [1, 4],
                "datatype": "FP32",
                "parameters": {"binary_data_size": 16},
            }
        ],
        "parameters": {"binary_data_output": True},
    }
    assert received.body.endswith(x.tobytes())


def test_a_list_travels_as_json_with_the_datatype_that_the_model_declares(client, server):
    client.infer("iris", {"x": [[1, 2, 3, 4]], "note": ["grün"]}, binary=False)

    metadata, received = server.received
    assert (metadata.method, metadata.path) == ("GET", "/v2/models/iris")
    assert received.headers["content-type"] == "application/json"
    assert "inference-header-content-length" not in received.headers
    assert json.loads(received.body)["inputs"] == [
        {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]},
        {"name": "note", "shape": [1], "datatype": "BYTES", "data": ["grün"]},
    ]


def test_the_signature_is_asked_for_once_per_model(client, server):
    for _ in range(3):
        client.infer("iris", {"x": [[1, 2, 3, 4]]})

    assert [call.method for call in server.received] == ["GET", "POST", "POST", "POST"]


def test_a_typed_tensor_needs_no_signature(client, server):
    client.infer("iris", {"x": Tensor.of("FP32", [[1, 2, 3, 4]])})

    assert [call.method for call in server.received] == ["POST"]


def test_version_and_outputs_are_named_in_path_and_body(client, server):
    x = np.zeros((1, 4), np.float32)

    client.infer("iris", {"x": x}, version="2", outputs=["y"], binary=False)

    (received,) = server.received
    assert received.path == "/v2/models/iris/versions/2/infer"
    assert received.header_json()["outputs"] == [
        {"name": "y", "parameters": {"binary_data": False}}
    ]


def test_a_json_answer_becomes_tensors_by_name(client):
    result = client.infer("iris", {"x": [[1, 2, 3, 4]] * 2})

    assert (result.model_name, result.model_version, result.id) == ("iris", "1", "42")
    assert result["y"].tolist() == [0, 2]
    np.testing.assert_array_equal(result["y"].numpy(), np.array([0, 2], np.int64))


def test_a_binary_answer_with_mixed_forms_and_an_empty_tensor_is_read_in_order(server):
    header = json.dumps(
        {
            "model_name": "m",
            "outputs": [
                {"name": "a", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}},
                {"name": "b", "shape": [1], "datatype": "INT64", "data": [7]},
                {"name": "c", "shape": [0, 3], "datatype": "FP64", "parameters": {"binary_data_size": 0}},
                {"name": "d", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": 11}},
            ],
        }
    ).encode()  # fmt: skip
    body = header + struct.pack("<2f", 1.5, -2.0) + b"\x02\x00\x00\x00hi\x01\x00\x00\x00\xff"
    server.will_answer(Answer(200, body, {"Inference-Header-Content-Length": str(len(header))}))

    with Laneway(server.endpoint) as client:
        result = client.infer("m", {"x": np.zeros(1, np.float32)})

    assert result["a"].tolist() == [1.5, -2.0]
    assert result["b"].tolist() == [7]
    assert result["c"].tolist() == []
    assert result["c"].numpy().shape == (0, 3)
    assert result["d"].tolist() == [b"hi", b"\xff"]


@pytest.mark.parametrize(
    ("body", "length"),
    [
        (b'{"outputs":[]}left', "14"),
        (b"{}", "nine"),
        (b"{}", "9"),
        (b"<html>", None),
        (b"[1]", None),
        (b'{"outputs":[{"name":"y"}]}', None),
    ],
)
def test_an_answer_outside_the_protocol_is_a_protocol_error(server, body, length):
    headers = {} if length is None else {"Inference-Header-Content-Length": length}
    server.will_answer(Answer(200, body, headers))

    with Laneway(server.endpoint) as client, pytest.raises(ProtocolError):
        client.infer("m", {"x": np.zeros(1, np.float32)})


def test_a_compressed_request_counts_the_header_before_compression(server):
    server.will_answer(json_answer(ANSWER))
    x = np.arange(1000, dtype=np.float32)

    with Laneway(server.endpoint, compress=True) as client:
        client.infer("m", {"x": x})

    (received,) = server.received
    body = gzip.decompress(received.body)
    size = int(received.headers["inference-header-content-length"])
    assert received.headers["content-encoding"] == "gzip"
    assert received.headers["content-type"] == "application/octet-stream"
    assert body[size:] == x.tobytes()


def test_a_compressed_json_request_is_not_sent_under_a_textual_type(server):
    server.will_answer(json_answer(ANSWER))

    with Laneway(server.endpoint, compress=True) as client:
        client.infer("m", {"x": Tensor.of("FP32", [1.0])}, binary=False)

    assert server.received[0].headers["content-type"] == "application/octet-stream"


def test_a_compressed_answer_is_read(server):
    body = gzip.compress(json.dumps(ANSWER).encode())
    server.will_answer(Answer(200, body, {"content-encoding": "gzip"}))

    with Laneway(server.endpoint) as client:
        assert client.infer("m", {"x": np.zeros(1, np.float32)})["y"].tolist() == [0, 2]


@pytest.mark.parametrize(
    ("values", "words"),
    [([[1, 2], [3]], "ragged"), ([[1, [2]]], "ragged"), ([1, [2, 3]], "ragged")],
)
def test_a_ragged_list_is_refused_before_anything_is_inferred(client, server, values, words):
    with pytest.raises(InputError, match=words):
        client.infer("iris", {"x": values})

    assert all(call.method == "GET" for call in server.received)


def test_a_list_for_an_input_that_the_model_lacks_names_what_it_takes(client):
    with pytest.raises(InputError, match=r"no input 'z'; it takes x: FP32 \[-1, 4\]"):
        client.infer("iris", {"z": [1]})


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_a_datatype_without_a_json_form_is_packed_whatever_was_asked(server, datatype):
    server.will_answer(json_answer(ANSWER))
    dtype = np.float16 if datatype == "FP16" else ml_dtypes.bfloat16
    x = np.array([1.5, -2.0], dtype=dtype)

    with Laneway(server.endpoint) as client:
        client.infer("m", {"x": x}, binary=False)

    (received,) = server.received
    assert received.header_json()["inputs"][0]["datatype"] == datatype
    assert received.body.endswith(x.tobytes())


def test_strings_and_bytes_in_an_array_are_bytes_elements(server):
    server.will_answer(json_answer(ANSWER))

    with Laneway(server.endpoint) as client:
        client.infer("m", {"x": np.array(["é", b"\xff"], dtype=object)})

    assert server.received[0].body.endswith(b"\x02\x00\x00\x00\xc3\xa9\x01\x00\x00\x00\xff")


def test_a_big_endian_array_and_a_slice_travel_little_endian_row_major(server):
    server.will_answer(json_answer(ANSWER))
    x = np.arange(6, dtype=">i4").reshape(2, 3).T

    with Laneway(server.endpoint) as client:
        client.infer("m", {"x": x})

    assert server.received[0].body.endswith(struct.pack("<6i", 0, 3, 1, 4, 2, 5))


def test_an_array_of_a_dtype_that_the_protocol_lacks_is_refused():
    with pytest.raises(InputError, match="complex128"), Laneway("http://127.0.0.1:9") as client:
        client.infer("m", {"x": np.zeros(1, complex)})


def test_the_client_works_where_numpy_is_not_loaded(server):
    server.will_answer(json_answer(ANSWER))
    program = (
        "import sys; from cli.client import Laneway, Tensor\n"
        f"answer = Laneway({server.endpoint!r}).infer('m', {{'x': Tensor.of('FP32', [1.0])}})\n"
        "assert answer['y'].tolist() == [0, 2]\n"
        "heavy = {'numpy', 'botocore', 'pydantic', 'boto3'} & sys.modules.keys()\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False,
                          cwd=".", env={"PYTHONPATH": ":".join(filter(None, sys.path))}, timeout=60)  # fmt: skip

    assert done.returncode == 0, done.stderr.decode()
