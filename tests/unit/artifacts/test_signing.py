"""Our one signature is botocore's, and credentials are found where Lambda puts them."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from shared.artifacts.signing import (
    Credentials,
    address_of,
    credentials_of,
    path_of,
    signed_headers,
)
from shared.errors import ModelUnavailableError


@pytest.mark.parametrize("token", ["", "session-token"])
@pytest.mark.parametrize("key", ["model.onnx", "a b/ü+%.bin"])
def test_a_request_is_signed_as_botocore_signs_it(token, key):
    address = address_of("models", {"AWS_REGION": "eu-west-1"})
    path = path_of(address, key)

    ours = signed_headers(address, path, Credentials("AKIA", "secret", token), now_s=1_790_000_000)

    request = AWSRequest("GET", f"https://{address.host}{path}")
    theirs = S3SigV4Auth(BotoCredentials("AKIA", "secret", token or None), "s3", "eu-west-1")
    request.context["timestamp"] = ours["x-amz-date"]
    request.headers["X-Amz-Date"] = ours["x-amz-date"]
    request.headers["X-Amz-Content-SHA256"] = ours["x-amz-content-sha256"]
    if token:
        request.headers["X-Amz-Security-Token"] = token
    text = theirs.string_to_sign(request, theirs.canonical_request(request))
    assert ours["authorization"].endswith(theirs.signature(text, request))


@pytest.mark.parametrize(
    ("env", "host", "path"),
    [
        ({"AWS_REGION": "eu-west-1"}, "b.s3.eu-west-1.amazonaws.com", "/k"),
        ({"AWS_REGION": "cn-north-1"}, "b.s3.cn-north-1.amazonaws.com.cn", "/k"),
        (
            {"AWS_REGION": "r", "AWS_ENDPOINT_URL": "http://127.0.0.1:4566"},
            "127.0.0.1:4566",
            "/b/k",
        ),
    ],
)
def test_a_bucket_is_asked_where_it_is(env, host, path):
    address = address_of("b", env)

    assert (address.host, path_of(address, "k")) == (host, path)


def test_under_snapstart_credentials_are_asked_of_the_machine():
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.path, self.headers["authorization"]))
            found = {"AccessKeyId": "A", "SecretAccessKey": "S", "Token": "T", "Expiration": "x"}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        def log_message(self, *_):
            """Nobody reads it."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.handle_request, daemon=True)
    thread.start()
    port = server.server_address[1]
    found = credentials_of(
        {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{port}/2021-08-23/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "lambda",
        }
    )
    thread.join(timeout=10)
    server.server_close()

    assert found == Credentials("A", "S", "T")
    assert seen == [("/2021-08-23/credentials", "lambda")]


def test_without_credentials_a_model_is_unavailable():
    with pytest.raises(ModelUnavailableError, match="no credentials"):
        credentials_of({})
