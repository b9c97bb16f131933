"""Where the client sends and as whom: settings, API keys and SigV4 signatures."""

import hashlib
import hmac
import json
import re
from urllib.parse import quote, urlsplit

import httpx
import numpy as np
import pytest
from botocore.credentials import Credentials

from cli.client import ConfigurationError, Laneway
from cli.client.auth import SigV4Auth, iam_auth
from tests.unit.client.recording_server import json_answer

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


def write_dev_file(folder, **members):
    (folder / ".laneway").mkdir()
    (folder / ".laneway" / "dev.json").write_text(json.dumps(members))


def test_without_an_endpoint_the_three_ways_to_name_one_are_told():
    with pytest.raises(ConfigurationError, match=r"LANEWAY_ENDPOINT.*make dev"):
        Laneway()


def test_the_environment_names_endpoint_and_key(server, monkeypatch):
    monkeypatch.setenv("LANEWAY_ENDPOINT", server.endpoint)
    monkeypatch.setenv("LANEWAY_API_KEY", "lw_env")
    server.will_answer(json_answer({"models": []}))

    with Laneway() as client:
        client.models()

    assert server.received[0].headers["x-api-key"] == "lw_env"


def test_the_local_service_is_found_from_a_folder_below(server, monkeypatch, tmp_path):
    write_dev_file(tmp_path, endpoint=server.endpoint, api_key="lw_local")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    server.will_answer(json_answer({"models": []}))

    with Laneway() as client:
        client.models()

    assert server.received[0].headers["x-api-key"] == "lw_local"


def test_the_local_key_is_not_sent_to_another_endpoint(server, tmp_path):
    write_dev_file(tmp_path, endpoint="http://127.0.0.1:9", api_key="lw_local")
    server.will_answer(json_answer({"models": []}))

    with Laneway(server.endpoint) as client:
        client.models()

    assert "x-api-key" not in server.received[0].headers


def test_an_endpoint_without_a_scheme_is_refused():
    with pytest.raises(ConfigurationError, match="http"):
        Laneway("127.0.0.1:8000")


def test_a_broken_dev_file_says_so(tmp_path):
    (tmp_path / ".laneway").mkdir()
    (tmp_path / ".laneway" / "dev.json").write_text("{")

    with pytest.raises(ConfigurationError, match="make dev"):
        Laneway()


@pytest.mark.parametrize(
    "identities",
    [
        {"api_key": "lw_x", "iam": True},
        {"token": "t", "iam": True},
        {"api_key": "lw_x", "token": "t"},
    ],
)
def test_two_identities_at_once_are_refused(identities):
    with pytest.raises(ConfigurationError, match="choose one"):
        Laneway("http://127.0.0.1:9", **identities)


def headers_sent(server, **identity):
    server.will_answer(json_answer({"models": []}))
    with Laneway(server.endpoint, **identity) as client:
        client.models()
    return server.received[-1].headers


def test_a_key_is_sent_where_either_kind_of_stage_looks_for_it(server):
    headers = headers_sent(server, api_key="lw_x")
    assert (headers["x-api-key"], headers["authorization"]) == ("lw_x", "Bearer lw_x")


def test_a_token_is_sent_as_a_bearer_and_nowhere_else(server):
    headers = headers_sent(server, token="t1")
    assert headers["authorization"] == "Bearer t1"
    assert "x-api-key" not in headers


def test_a_function_is_asked_for_a_token_with_each_call(server):
    tokens = iter(["t1", "t2"])
    server.will_answer(json_answer({"models": []}), json_answer({"models": []}))
    with Laneway(server.endpoint, token=lambda: next(tokens)) as client:
        client.models()
        client.models()
    assert [call.headers["authorization"] for call in server.received] == ["Bearer t1", "Bearer t2"]


def test_the_environment_names_a_token_unless_it_names_a_key(server, monkeypatch):
    monkeypatch.setenv("LANEWAY_TOKEN", "t-env")
    assert headers_sent(server)["authorization"] == "Bearer t-env"
    assert headers_sent(server, api_key="lw_x")["authorization"] == "Bearer lw_x"
    monkeypatch.setenv("LANEWAY_API_KEY", "lw_env")
    assert headers_sent(server)["x-api-key"] == "lw_env"
    assert headers_sent(server, token="t1")["authorization"] == "Bearer t1"


def test_a_token_is_sent_to_the_local_service_in_the_place_of_its_key(server, tmp_path):
    write_dev_file(tmp_path, endpoint=server.endpoint, api_key="lw_local")
    assert "x-api-key" not in headers_sent(server, token="t1")


def test_neither_client_nor_error_shows_the_key(server):
    server.will_answer(json_answer({"message": "Forbidden"}, 403))

    with Laneway(server.endpoint, api_key="lw_canary") as client:
        with pytest.raises(Exception, match="Forbidden") as caught:
            client.models()
        assert "lw_canary" not in f"{client!r} {caught.value!s} {caught.value!r}"


def test_the_region_is_read_from_the_endpoint(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    url = "https://abc123.execute-api.eu-central-1.amazonaws.com"
    request = httpx.Request("GET", url + "/v2")

    signed = next(iam_auth(url, None).auth_flow(request))

    assert "/eu-central-1/execute-api/aws4_request" in signed.headers["authorization"]


def test_without_credentials_the_way_out_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(ConfigurationError, match="api_key"):
        Laneway("http://127.0.0.1:9", iam=True, region="eu-west-1")


def signature_of(method, url, *, headers, body, authorization):
    """Recomputes a SigV4 signature from what arrived, by the published algorithm and hmac alone."""
    scope, names, given = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=[^/]+/(\S+), SignedHeaders=(\S+), Signature=(\w+)",
        authorization,
    ).groups()
    parts = urlsplit(url)
    canonical = "\n".join(
        [
            method,
            quote(parts.path or "/", safe="/~"),
            "&".join(sorted(parts.query.split("&"))),
            *(f"{name}:{' '.join(headers[name].split())}" for name in names.split(";")),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        ]
    )
    to_sign = "\n".join(
        [
            "AWS4-HMAC-SHA256",
            headers["x-amz-date"],
            scope,
            hashlib.sha256(canonical.encode()).hexdigest(),
        ]
    )
    key = f"AWS4{SECRET}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, to_sign.encode(), "sha256").hex(), given


def test_our_verifier_agrees_with_the_published_get_vanilla_vector():
    authorization = (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        "SignedHeaders=host;x-amz-date, "
        "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    )
    headers = {"host": "example.amazonaws.com", "x-amz-date": "20150830T123600Z"}

    found, given = signature_of(
        "GET",
        "https://example.amazonaws.com/",
        headers=headers,
        body=b"",
        authorization=authorization,
    )

    assert found == given


@pytest.mark.parametrize("path", ["/v2/models/iris/infer", "/prod/v2/models/a%20b/infer"])
def test_the_signature_of_what_really_arrived_verifies(server, path):
    server.will_answer(json_answer({"model_name": "iris", "outputs": []}))
    auth = SigV4Auth(
        region="eu-west-1", credentials=Credentials("AKIDEXAMPLE", SECRET, "session-token")
    )

    with httpx.Client(auth=auth) as http:
        http.post(
            server.endpoint + path,
            content=b'{"inputs":[]}\x00\xff',
            headers={"Content-Type": "application/octet-stream", "User-Agent": "x"},
        )

    (received,) = server.received
    authorization = received.headers["authorization"]
    found, given = signature_of(
        "POST",
        received.path,
        headers=received.headers,
        body=received.body,
        authorization=authorization,
    )
    assert found == given
    assert "/eu-west-1/execute-api/aws4_request" in authorization
    assert "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token" in authorization
    assert received.headers["x-amz-security-token"] == "session-token"


def test_a_client_with_iam_signs_each_try_and_sends_no_key(server, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    server.will_answer(json_answer({"model_name": "iris", "outputs": []}))

    with Laneway(server.endpoint, iam=True, region="eu-west-1") as client:
        client.infer("iris", {"x": np.zeros(2, np.float32)})

    (received,) = server.received
    found, given = signature_of(
        "POST", received.path, headers=received.headers, body=received.body, authorization=received.headers["authorization"],
    )  # fmt: skip
    assert found == given
    assert "x-api-key" not in received.headers
