"""What decoding costs, where it can be asserted: copies exactly, time as ratios inside one process."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest

from functions.api_gateway import read_request
from shared.catalog import TensorSpec
from shared.inference.codec import InputCodec
from shared.schema.compile import export_validators
from shared.schema.compiled import load_validators
from shared.schema.wire import HEADER_LENGTH, open_body, parse_json, split_tail

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

SHAPE = [1, 3, 224, 224]
CODEC = InputCodec(TensorSpec("x", "FP32", (-1, 3, 224, 224)), text=False, allow_non_finite=False)
VALIDATORS = load_validators(export_validators())
ROUNDS = 15
"""A minimum of this many is undisturbed somewhere, on a busy machine too."""


@pytest.fixture(scope="module")
def tensor() -> NDArray[np.float32]:
    return np.random.default_rng(7).standard_normal(SHAPE, dtype=np.float32)


def decode(body: bytes, header_length: str | None) -> NDArray[Any]:
    frame = open_body(body, header_length=header_length)
    request = VALIDATORS.inference_request(parse_json(frame.json))
    return CODEC.decode(request.inputs[0], split_tail(request.inputs, frame.tail)[0], 0)


def binary_parts(tensor: NDArray[np.float32], *, header_bytes: int) -> tuple[bytes, bytes]:
    """JSON part, filled with spaces to `header_bytes`, and tensor."""
    described = {
        "name": "x",
        "shape": SHAPE,
        "datatype": "FP32",
        "parameters": {"binary_data_size": tensor.nbytes},
    }
    header = orjson.dumps({"inputs": [described]})
    assert len(header) <= header_bytes
    return header.ljust(header_bytes), tensor.tobytes()


def gateway_event(body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
    return {
        "rawPath": "/v2/models/m/infer",
        "routeKey": "POST /v2/models/m/infer",
        "headers": {"content-type": "application/octet-stream", **headers},
        "requestContext": {"http": {"method": "POST"}, "requestId": "r", "stage": "$default"},
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }


def test_a_binary_tensor_lies_in_the_body_that_was_read_from_base64(
    tensor: NDArray[np.float32],
) -> None:
    header, tail = binary_parts(tensor, header_bytes=120)
    request = read_request(gateway_event(header + tail, {HEADER_LENGTH: "120"}))

    array = decode(request.body, request.headers[HEADER_LENGTH])

    assert np.shares_memory(array, np.frombuffer(request.body, np.uint8))
    assert np.array_equal(array, tensor)


@pytest.mark.parametrize("header_bytes", [117, 118, 119])
def test_a_binary_tensor_at_an_odd_offset_is_aligned_and_equal(
    tensor: NDArray[np.float32], header_bytes: int
) -> None:
    header, tail = binary_parts(tensor, header_bytes=header_bytes)

    array = decode(header + tail, str(header_bytes))

    assert array.flags.aligned
    assert np.array_equal(array, tensor)


def test_decoding_json_costs_little_more_than_orjson_and_numpy_alone(
    tensor: NDArray[np.float32],
) -> None:
    body = json_body(tensor)

    ours, plain = fastest_ms(lambda: decode(body, None), lambda: plain_decode(body))

    assert ours <= 1.25 * plain, f"{ours:.2f} ms against {plain:.2f} ms"


def test_decoding_a_binary_body_costs_next_to_nothing_beside_json(
    tensor: NDArray[np.float32],
) -> None:
    header, tail = binary_parts(tensor, header_bytes=117)
    body, json = header + tail, json_body(tensor)

    ours, plain = fastest_ms(lambda: decode(body, "117"), lambda: plain_decode(json))

    assert ours <= 0.02 * plain, f"{ours:.3f} ms against {plain:.2f} ms"


def json_body(tensor: NDArray[np.float32]) -> bytes:
    described = {"name": "x", "shape": SHAPE, "datatype": "FP32", "data": tensor.ravel()}
    return orjson.dumps({"inputs": [described]}, option=orjson.OPT_SERIALIZE_NUMPY)


def plain_decode(body: bytes) -> NDArray[np.float32]:
    request = orjson.loads(body)["inputs"][0]
    return np.array(request["data"], np.float32).reshape(request["shape"])


def fastest_ms(*ways: Callable[[], object]) -> list[float]:
    """The fastest of `ROUNDS` calls of each, taken in turn; each follows an untimed call of itself."""
    times: list[list[float]] = [[] for _ in ways]
    for _ in range(ROUNDS):
        for way, taken in zip(ways, times, strict=True):
            way()
            start = time.perf_counter_ns()
            way()
            taken.append((time.perf_counter_ns() - start) / 1e6)
    return [min(taken) for taken in times]
