"""`laneway docs` as a real process: what it serves, where calls go, and whom it refuses."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.unit.client.recording_server import Answer, json_answer

PROJECT = Path(__file__).parents[3]
MODEL = 'description = "Adds one."\ndefault_version = "1"\nlatency_classes = ["realtime"]\n'
MANIFEST = {
    "model": "plus-one",
    "version": "1",
    "files": [{"path": "model.onnx", "sha256": "0" * 64, "size_bytes": 10}],
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}],
    "opset": {"": 21},
    "stacking": {"row_independent": True},
}


@pytest.fixture
def models(tmp_path):
    version = tmp_path / "models" / "plus-one" / "1"
    version.mkdir(parents=True)
    (version.parent / "model.toml").write_text(MODEL)
    (version / "manifest.json").write_text(json.dumps(MANIFEST))
    return tmp_path / "models"


@contextmanager
def running(*args, **env):
    inherited = {n: v for n, v in os.environ.items() if not n.startswith(("LANEWAY_", "AWS_"))}
    process = subprocess.Popen(
        [sys.executable, "-c", "from cli.main import app; app()", "docs", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=args[1],
        env=inherited | {"PYTHONPATH": str(PROJECT)} | env,
    )
    try:
        page = process.stdout.readline().strip()
        assert page.endswith("/docs"), process.stderr.read()
        yield process, page.removesuffix("/docs")
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


@pytest.fixture
def site(models, server):
    arguments = ("--models", models, "--endpoint", server.endpoint)
    with running(*arguments, LANEWAY_API_KEY="lw_canary") as (_, url):
        yield url


def test_the_page_and_the_description_of_the_local_models_are_served(site):
    page = httpx.get(site, follow_redirects=True)
    document = httpx.get(site + "/openapi.json").json()

    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "/v2/models/plus-one/infer" in document["paths"]
    assert document["servers"] == [{"url": "/"}]


def test_a_call_of_the_page_is_passed_on_with_the_key_and_its_answer_comes_back_whole(site, server):
    body = b'{"outputs":[]}\x00\xff'
    server.will_answer(
        Answer(400, body, {"inference-header-content-length": "14", "content-type": "x/y"})
    )

    answer = httpx.post(
        site + "/v2/models/plus-one/infer",
        content=b"{}\x01",
        headers={"origin": site, "inference-header-content-length": "2", "cookie": "a=b"},
    )

    (received,) = server.received
    assert received.path == "/v2/models/plus-one/infer"
    assert received.body == b"{}\x01"
    assert received.headers["x-api-key"] == "lw_canary"
    assert received.headers["inference-header-content-length"] == "2"
    assert "cookie" not in received.headers
    assert (answer.status_code, answer.content) == (400, body)
    assert answer.headers["inference-header-content-length"] == "14"


def test_the_key_is_not_in_anything_that_the_browser_gets(site, server):
    server.will_answer(json_answer({"models": []}))

    answers = [httpx.get(site + path) for path in ("/docs", "/openapi.json", "/v2/models")]

    assert server.received[0].headers["x-api-key"] == "lw_canary"
    for answer in answers:
        assert "lw_canary" not in answer.text
        assert "lw_canary" not in str(answer.headers)


@pytest.mark.parametrize(
    "headers",
    [{"origin": "https://elsewhere.example"}, {"host": "elsewhere.example"}, {"origin": "null"}],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_sites_page_cannot_spend_the_users_key(site, server, headers, method):
    answer = httpx.request(method, site + "/v2/models", headers=headers)

    assert answer.status_code == 403
    assert server.received == []


def test_a_target_that_would_name_another_host_is_refused(site, server):
    host = site.removeprefix("http://")
    with socket.create_connection(host.split(":"), timeout=10) as raw:
        raw.sendall(f"GET @127.0.0.1:9/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert raw.recv(100).startswith(b"HTTP/1.1 403")
    assert server.received == []


def test_a_service_that_is_gone_is_a_502_with_the_reason(models):
    with running("--models", models, "--endpoint", "http://127.0.0.1:9") as (_, url):
        answer = httpx.get(url + "/v2/models")

    assert answer.status_code == 502
    assert "http://127.0.0.1:9" in answer.json()["error"]


def test_sigterm_stops_it_without_a_traceback(models):
    with running("--models", models, "--endpoint", "http://127.0.0.1:9") as (process, _):
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=20)

    assert process.returncode == 0
    assert "stopped" in told
    assert "Traceback" not in told


def test_a_port_in_use_is_a_message_with_the_way_out(laneway, models, server):
    port = server.endpoint.rsplit(":", 1)[1]

    result = laneway("docs", "--models", models, "--endpoint", server.endpoint, "--port", port)

    assert result.exit_code == 1
    assert "--port" in result.stderr


def test_a_folder_without_models_says_so(laneway, tmp_path, server):
    result = laneway("docs", "--models", tmp_path, "--endpoint", server.endpoint)

    assert result.exit_code == 1
    assert "laneway models add" in result.stderr
