"""The protocol's own clients, unmodified, against the whole service."""

from __future__ import annotations

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException


@pytest.fixture(scope="session")
def client(laneway_service):
    with triton.InferenceServerClient(laneway_service.address) as client:
        yield client


@pytest.fixture
def headers(laneway_service):
    # A fresh one each time: the client writes Inference-Header-Content-Length into the caller's dict.
    return laneway_service.headers


def tensor(values, *, name="x", kind="FP32", binary=True, module=triton):
    tensor = module.InferInput(name, list(values.shape), kind)
    tensor.set_data_from_numpy(values, binary_data=binary)
    return tensor


ROWS = np.array([[1.0, 2.0], [3.0, -4.0]], np.float32)


def test_the_server_lives_and_is_ready(client, headers):
    assert client.is_server_live(headers=headers)
    assert client.is_server_ready(headers=headers)
    assert client.is_model_ready("scale", headers=headers)
    assert client.is_model_ready("pairs", "v1.0", headers=headers)
    assert not client.is_model_ready("absent", headers=headers)
    assert not client.is_model_ready("queued", headers=headers)


def test_metadata_names_the_extensions_that_are_kept(client, headers):
    metadata = client.get_server_metadata(headers=headers)
    assert metadata["name"] == "laneway"
    assert "binary_tensor_data" in metadata["extensions"]
    assert "statistics" not in metadata["extensions"]


def test_metadata_of_a_model_is_its_signature(client, headers):
    metadata = client.get_model_metadata("pairs", headers=headers)
    assert metadata["platform"] == "onnx_onnxv1"
    assert metadata["versions"] == ["v1.0"]
    assert metadata["inputs"][2] == {"name": "note", "datatype": "BYTES", "shape": [1]}
    assert metadata["outputs"][0] == {"name": "sum", "datatype": "INT64", "shape": [-1]}


def test_metadata_of_a_model_with_a_transform_is_what_callers_send(client, headers):
    metadata = client.get_model_metadata("shout", "1", headers=headers)
    assert metadata["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]


def test_config_has_tritons_form(client, headers):
    config = client.get_model_config("pairs", headers=headers)
    assert config["max_batch_size"] == 0
    assert config["input"][0] == {"name": "left", "data_type": "TYPE_INT64", "dims": [-1]}
    assert config["input"][2]["data_type"] == "TYPE_STRING"


def test_the_index_lists_every_version_with_its_state(client, headers):
    index = client.get_model_repository_index(headers=headers)
    states = {(entry["name"], entry["version"]): entry["state"] for entry in index}
    assert states["scale", "2"] == "READY"
    assert states["pairs", "v1.0"] == "READY"
    assert states["queued", "1"] == "UNAVAILABLE"


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("encoding", [None, "gzip", "deflate"])
def test_infer_answers_in_the_form_that_was_asked(client, headers, binary_in, binary_out, encoding):
    result = client.infer(
        "scale",
        [tensor(ROWS, binary=binary_in)],
        outputs=[triton.InferRequestedOutput("y", binary_data=binary_out)],
        headers=headers,
        request_compression_algorithm=encoding,
        response_compression_algorithm=encoding,
    )
    np.testing.assert_array_equal(result.as_numpy("y"), ROWS * 3)


def test_a_large_answer_is_compressed_for_a_client_that_asked(client, headers):
    rows = np.ones((5_000, 2), np.float32)
    result = client.infer(
        "scale", [tensor(rows)], headers=headers, response_compression_algorithm="gzip"
    )
    np.testing.assert_array_equal(result.as_numpy("y"), rows * 3)


def test_a_version_of_the_address_is_the_one_that_answers(client, headers):
    result = client.infer("scale", [tensor(ROWS)], model_version="1", headers=headers)
    np.testing.assert_array_equal(result.as_numpy("y"), ROWS * 2)
    assert result.get_response()["model_version"] == "1"


def test_the_id_comes_back(client, headers):
    result = client.infer("scale", [tensor(ROWS)], request_id="42", headers=headers)
    assert result.get_response()["id"] == "42"


def test_integers_and_texts_travel_beside_each_other(client, headers):
    inputs = [
        tensor(np.array([1, 2**62], np.int64), name="left", kind="INT64"),
        tensor(np.array([1, 1], np.int64), name="right", kind="INT64", binary=False),
        tensor(np.array(["grüße".encode()], object), name="note", kind="BYTES"),
    ]
    result = client.infer("pairs", inputs, headers=headers)
    assert result.as_numpy("sum").tolist() == [2, 2**62 + 1]
    assert result.as_numpy("echo").tolist() == ["grüße".encode()]


@pytest.mark.parametrize("binary", [True, False])
def test_a_transform_takes_text_and_gives_text(client, headers, binary):
    texts = np.array([b"hello", b"you"], object)
    result = client.infer(
        "shout",
        [tensor(texts, name="text", kind="BYTES", binary=binary)],
        outputs=[triton.InferRequestedOutput("shout", binary_data=binary)],
        headers=headers,
    )
    assert [_text(value) for value in result.as_numpy("shout")] == ["HELLO! 10", "YOU! 6"]


def _text(value):
    return value.decode() if isinstance(value, bytes) else value


def test_no_rows_in_are_no_rows_out(client, headers):
    result = client.infer("scale", [tensor(np.zeros((0, 2), np.float32))], headers=headers)
    assert result.as_numpy("y").shape == (0, 2)


def test_an_error_is_the_message_of_the_clients_exception(client, headers):
    with pytest.raises(InferenceServerException, match=r"'scale'.* no version '9'") as caught:
        client.infer("scale", [tensor(ROWS)], model_version="9", headers=headers)
    assert caught.value.status() == "404"


def test_calls_that_are_not_offered_say_so(client, headers):
    for call in (
        lambda: client.get_inference_statistics(headers=headers),
        lambda: client.get_inference_statistics("scale", headers=headers),
        lambda: client.get_system_shared_memory_status(headers=headers),
        lambda: client.get_cuda_shared_memory_status(headers=headers),
        lambda: client.get_trace_settings(headers=headers),
        lambda: client.get_log_settings(headers=headers),
        lambda: client.load_model("scale", headers=headers),
        lambda: client.unload_model("scale", headers=headers),
    ):
        with pytest.raises(InferenceServerException, match="is not offered") as caught:
            call()
        assert caught.value.status() == "501"


@pytest.mark.asyncio
async def test_the_async_client_gets_the_same_answers(laneway_service):
    headers = laneway_service.headers
    async with triton_aio.InferenceServerClient(laneway_service.address) as client:
        assert await client.is_server_live(headers=headers)
        assert await client.is_server_ready(headers=headers)
        assert await client.is_model_ready("scale", headers=headers)
        assert (await client.get_server_metadata(headers=headers))["name"] == "laneway"
        for binary in (True, False):
            result = await client.infer(
                "scale",
                [tensor(ROWS, binary=binary, module=triton_aio)],
                outputs=[triton_aio.InferRequestedOutput("y", binary_data=binary)],
                headers=laneway_service.headers,
            )
            np.testing.assert_array_equal(result.as_numpy("y"), ROWS * 3)


@pytest.mark.asyncio
async def test_the_async_client_can_read_a_large_answer_although_it_accepts_br(laneway_service):
    rows = np.ones((5_000, 2), np.float32)
    async with triton_aio.InferenceServerClient(laneway_service.address) as client:
        result = await client.infer(
            "scale", [tensor(rows, module=triton_aio)], headers=laneway_service.headers
        )
    np.testing.assert_array_equal(result.as_numpy("y"), rows * 3)
