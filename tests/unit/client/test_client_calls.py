"""The calls beside infer, and the asyncio twin, against a real HTTP server."""

import asyncio

import numpy as np
import pytest

from cli.client import (
    AsyncLaneway,
    ConnectionFailedError,
    Laneway,
    NotFoundError,
    RetryPolicy,
    TensorSpec,
    UnauthorizedError,
    UnavailableError,
)
from tests.unit.client.recording_server import json_answer
from tests.unit.client.test_client_infer import ANSWER, METADATA

UNREACHABLE = "http://127.0.0.1:9"  # the discard port, which nothing serves


def test_models_are_listed_by_name(server):
    server.on("/v2/models", json_answer({"models": ["iris", "minilm"]}))

    with Laneway(server.endpoint) as client:
        assert client.models() == ["iris", "minilm"]


def test_a_model_tells_its_versions_and_signature(server):
    server.on("/v2/models/iris/versions/1", json_answer(METADATA))

    with Laneway(server.endpoint) as client:
        model = client.model("iris", "1")

    assert model.versions == ("1",)
    assert model.inputs[0] == TensorSpec("x", "FP32", (-1, 4))


def test_the_service_tells_its_extensions(server):
    server.on("/v2", json_answer({"name": "laneway", "version": "1", "extensions": ["a"]}))

    with Laneway(server.endpoint) as client:
        assert client.server_metadata().extensions == ("a",)


@pytest.mark.parametrize(("status", "ready"), [(200, True), (503, False), (400, False)])
def test_ready_is_a_yes_or_no_and_is_asked_once(server, status, ready):
    server.will_answer(json_answer({"ready": ready, "error": "not now"}, status))

    with Laneway(server.endpoint) as client:
        assert client.ready("iris") is ready
    assert [call.path for call in server.received] == ["/v2/models/iris/ready"]


def test_ready_of_an_unknown_model_is_an_error_not_a_no(server):
    server.will_answer(json_answer({"error": "no model", "code": "model_not_found"}, 404))

    with Laneway(server.endpoint) as client, pytest.raises(NotFoundError):
        client.ready("nope")


def test_live_is_false_when_nothing_answers_and_true_when_the_service_does(server):
    server.will_answer(json_answer({"live": True}))

    with Laneway(server.endpoint) as here, Laneway(UNREACHABLE) as nowhere:
        assert here.live() is True
        assert nowhere.live() is False


def test_live_does_not_hide_a_refused_key(server):
    server.will_answer(json_answer({"message": "Unauthorized"}, 401))

    with Laneway(server.endpoint) as client, pytest.raises(UnauthorizedError):
        client.live()


def test_a_names_odd_characters_are_quoted_in_the_path(server):
    server.will_answer(json_answer(METADATA))

    with Laneway(server.endpoint) as client:
        client.model("a/b c")

    assert server.received[0].path == "/v2/models/a%2Fb%20c"


def test_an_endpoint_with_a_path_and_a_slash_is_used_as_it_is(server):
    server.will_answer(json_answer({"models": []}))

    with Laneway(server.endpoint + "/prod/") as client:
        client.models()

    assert server.received[0].path == "/prod/v2/models"


def test_the_asyncio_client_infers_and_asks_like_the_blocking_one(server):
    server.on("/v2/models/iris", json_answer(METADATA))
    server.on("/v2/models", json_answer({"models": ["iris"]}))
    server.on("/v2/health/live", json_answer({}))
    server.on("/v2/models/iris/ready", json_answer({}))
    server.on("/v2", json_answer({"name": "laneway"}))
    server.will_answer(json_answer(ANSWER))

    async def calls():
        async with AsyncLaneway(server.endpoint, api_key="lw_test") as client:
            listed = await client.infer("iris", {"x": [[1, 2, 3, 4]]})
            packed = await client.infer("iris", {"x": np.zeros((1, 4), np.float32)})
            return (
                listed["y"].tolist(),
                packed["y"].tolist(),
                await client.models(),
                await client.live(),
                await client.ready("iris"),
                (await client.server_metadata()).name,
            )

    assert asyncio.run(calls()) == ([0, 2], [0, 2], ["iris"], True, True, "laneway")
    assert {call.headers["x-api-key"] for call in server.received} == {"lw_test"}


def test_the_asyncio_client_tries_again_and_gives_up_alike(server):
    server.will_answer(json_answer({"message": "Service Unavailable"}, 503))

    async def call():
        retry = RetryPolicy(max_retries=2, base_s=0.001)
        async with AsyncLaneway(server.endpoint, retry=retry) as client:
            await client.models()

    with pytest.raises(UnavailableError):
        asyncio.run(call())
    assert len(server.received) == 3


def test_a_refused_connection_names_the_endpoint():
    retry = RetryPolicy(max_retries=1, base_s=0.001)
    with (
        Laneway(UNREACHABLE, retry=retry) as client,
        pytest.raises(ConnectionFailedError, match=r"http://127\.0\.0\.1:9"),
    ):
        client.models()
