"""The client against the whole service: the deployed handlers behind a gateway, over a real socket."""

import asyncio

import numpy as np
import pytest

from cli.client import (
    AsyncLaneway,
    BadRequestError,
    ForbiddenError,
    Laneway,
    NotFoundError,
    Tensor,
    TensorSpec,
    TooLargeError,
    UnauthorizedError,
)

ROWS = np.array([[1.0, 2.0], [3.0, -4.0]], np.float32)


@pytest.fixture
def client(laneway_service):
    return laneway_service.client


@pytest.mark.parametrize("binary", [True, False])
def test_arrays_and_lists_give_the_same_answer_in_both_forms(client, binary):
    packed = client.infer("scale", {"x": ROWS}, version="1", binary=binary)
    listed = client.infer("scale", {"x": ROWS.tolist()}, version="1", binary=binary)

    np.testing.assert_array_equal(packed["y"].numpy(), ROWS * 2)
    np.testing.assert_array_equal(listed["y"].numpy(), ROWS * 2)
    assert packed["y"].numpy().dtype == np.float32
    assert isinstance(packed["y"].data, bytes) is binary


def test_the_answer_names_model_version_and_id(client):
    result = client.infer("scale", {"x": ROWS}, request_id="order-7")

    assert (result.model_name, result.model_version, result.id) == ("scale", "2", "order-7")


def test_several_inputs_and_a_choice_of_outputs(client):
    inputs = {"left": [1, 2], "right": [10, 20], "note": ["grün"]}

    every = client.infer("pairs", inputs)
    chosen = client.infer("pairs", inputs, outputs=["sum"])

    assert list(every.outputs) == ["sum", "echo"]
    assert every["echo"].tolist() == ["grün".encode()]
    assert list(chosen.outputs) == ["sum"]
    assert chosen["sum"].tolist() == [11, 22]


def test_text_goes_through_a_models_transform(client):
    result = client.infer("shout", {"text": ["ab", "cdé"]}, binary=False)

    assert result["shout"].tolist() == ["AB! 4", "CDÉ! 8"]


def test_a_zero_size_tensor_goes_both_ways(client):
    result = client.infer("scale", {"x": np.zeros((0, 2), np.float32)})

    assert result["y"].numpy().shape == (0, 2)


def test_a_compressed_call_gives_the_same_answer(laneway_service):
    x = np.arange(4000, dtype=np.float32).reshape(-1, 2)
    with Laneway(laneway_service.url, api_key=laneway_service.api_key, compress=True) as client:
        for binary in (True, False):
            result = client.infer("scale", {"x": x}, version="1", binary=binary)
            np.testing.assert_array_equal(result["y"].numpy(), x * 2)


def test_the_service_describes_itself(client):
    assert {"scale", "pairs", "shout"} <= set(client.models())
    assert "binary_tensor_data" in client.server_metadata().extensions
    assert client.model("scale").inputs == (TensorSpec("x", "FP32", (-1, 2)),)
    assert client.live()
    assert client.ready("scale")
    assert not client.ready("queued")
    with pytest.raises(NotFoundError) as caught:
        client.ready("absent")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("inputs", "code", "field"),
    [
        ({"z": ROWS}, "signature_mismatch", "inputs"),
        ({"x": ROWS.astype(np.float64)}, "signature_mismatch", "inputs"),
        ({"x": np.full((1, 2), np.nan, np.float32)}, "non_finite_input", "inputs"),
        ({"x": Tensor("FP32", (2, 2), [1.0])}, "signature_mismatch", "inputs"),
    ],
)
def test_input_that_does_not_fit_is_a_typed_refusal_with_code_and_field(
    client, inputs, code, field
):
    with pytest.raises(BadRequestError) as caught:
        client.infer("scale", inputs)

    assert caught.value.code == code
    assert caught.value.field.startswith(field)
    assert caught.value.request_id
    assert not caught.value.from_gateway


def test_without_a_key_and_with_a_wrong_one_the_gateways_refusals_are_understood(laneway_service):
    with Laneway(laneway_service.url) as nobody, pytest.raises(UnauthorizedError) as unauthorized:
        nobody.models()
    with (
        Laneway(laneway_service.url, api_key="lw_" + "x" * 43) as stranger,
        pytest.raises(ForbiddenError) as forbidden,
    ):
        stranger.models()

    assert unauthorized.value.from_gateway
    assert forbidden.value.from_gateway


def test_a_body_past_the_limits_is_too_large_from_the_service_and_from_the_gateway(client):
    for elements, from_gateway in ((1_400_000, False), (3_000_000, True)):
        with pytest.raises(TooLargeError) as caught:
            client.infer("scale", {"x": np.zeros((elements // 2, 2), np.float32)})
        assert caught.value.from_gateway is from_gateway


def test_the_asyncio_client_gives_the_same_answers_concurrently(laneway_service):
    async def calls():
        key = laneway_service.api_key
        async with AsyncLaneway(laneway_service.url, api_key=key) as client:
            return await asyncio.gather(
                *(client.infer("scale", {"x": ROWS * n}, version="1") for n in range(8))
            )

    for n, result in enumerate(asyncio.run(calls())):
        np.testing.assert_array_equal(result["y"].numpy(), ROWS * n * 2)
