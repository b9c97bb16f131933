"""The worker's image: linted and read, because no Docker engine builds it here."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from gpu_workers.probe import is_alive
from stacks.packaging.layers import CONTROL, ONNX_RUNTIME, packages_in
from stacks.packaging.requirements import locked

PROJECT = Path(__file__).parents[2]
WORKER = PROJECT / "gpu_workers"
DOCKERFILE = (WORKER / "Dockerfile").read_text(encoding="utf-8")
DEVICES = ("cuda", "cpu")
SECRET = re.compile(r"(?i)(AKIA[0-9A-Z]{16}|aws_secret|password|BEGIN [A-Z ]*PRIVATE KEY)")


def lock_of(device: str) -> str:
    return (WORKER / f"requirements-{device}.txt").read_text(encoding="utf-8")


def instructions(name: str) -> list[str]:
    """The arguments of one instruction, lines joined, as the file has them."""
    text = re.sub(r"(?m)^\s*#.*\n", "", DOCKERFILE).replace("\\\n", " ")
    return [
        line.split(None, 1)[1] for line in text.splitlines() if line.split(None, 1)[:1] == [name]
    ]


def test_the_dockerfile_is_clean_under_hadolint() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")

    done = subprocess.run(
        [hadolint, "--no-color", WORKER / "Dockerfile"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_is_no_rubber_stamp(tmp_path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM ubuntu:latest\nRUN cd /tmp && sudo apt-get install x\n"
    )

    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), tmp_path / "Dockerfile"],
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1


@pytest.mark.parametrize("device", DEVICES)
def test_a_base_is_pinned_by_tag_and_digest(device) -> None:
    (base,) = [line for line in instructions("FROM") if line.endswith(f"AS base-{device}")]

    assert re.fullmatch(r"[a-z/]+:[a-z0-9.-]+@sha256:[0-9a-f]{64} AS base-\w+", base)


def test_the_cuda_base_is_of_the_version_that_the_runtime_was_built_against() -> None:
    """onnxruntime/capi/build_and_package_info.py of the 1.31.1 wheel: cuda_version = '13.0'."""
    assert "onnxruntime-gpu==1.31.1 " in lock_of("cuda")
    assert "FROM nvidia/cuda:13.0." in DOCKERFILE
    assert "-cudnn-runtime-" in DOCKERFILE


def test_every_lane_has_one_version_of_the_runtime() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (of_project,) = [
        item.split("==")[1] for item in project["dependencies"] if item.startswith("onnxruntime==")
    ]

    assert packages_in(ONNX_RUNTIME)["onnxruntime"] == of_project
    assert locked(lock_of("cuda"))["onnxruntime-gpu"] == of_project
    assert locked(lock_of("cpu"))["onnxruntime"] == of_project


@pytest.mark.parametrize("device", DEVICES)
def test_an_image_has_one_package_of_the_runtime(device) -> None:
    """Two would overwrite each other's files: both install the module `onnxruntime`."""
    names = {name for name in locked(lock_of(device)) if name.startswith("onnxruntime")}

    assert names == {{"cuda": "onnxruntime-gpu", "cpu": "onnxruntime"}[device]}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layer", [ONNX_RUNTIME, CONTROL], ids=lambda layer: layer.name)
def test_the_worker_and_the_functions_share_versions(layer, device) -> None:
    worker = locked(lock_of(device))

    for name, version in packages_in(layer).items():
        if name in worker:
            assert worker[name] == version, name


@pytest.mark.parametrize("device", DEVICES)
def test_every_package_of_the_image_is_pinned_by_hash(device) -> None:
    blocks = re.split(r"(?m)^(?=\S)", lock_of(device))
    packages = [block for block in blocks if re.match(r"[A-Za-z0-9]", block)]

    assert packages
    for block in packages:
        assert "--hash=sha256:" in block, block.splitlines()[0]
    assert all("--require-hashes" in run for run in instructions("RUN") if "pip install" in run)
    assert any("pip install" in run for run in instructions("RUN"))


def test_the_worker_runs_as_nobody_in_particular() -> None:
    assert instructions("USER") == ["10001:10001"]
    after = DOCKERFILE.split("USER 10001:10001")[1]
    assert not re.search(r"(?m)^(COPY|RUN|ADD)\b", after)
    assert not any("--chown" in line for line in instructions("COPY"))


def test_the_container_hears_the_signal_to_stop() -> None:
    """The shell form would put a shell between: SIGTERM would end the shell, and nothing would drain."""
    assert instructions("ENTRYPOINT") == ['["python", "-m", "gpu_workers"]']
    assert instructions("STOPSIGNAL") == ["SIGTERM"]


def test_the_container_is_asked_for_its_health_by_the_probe() -> None:
    (check,) = instructions("HEALTHCHECK")

    assert check.endswith('CMD ["python", "-m", "gpu_workers.probe"]')


def test_nothing_in_the_image_files_looks_like_a_secret() -> None:
    for name in ("Dockerfile", ".dockerignore", "requirements-cuda.txt", "requirements-cpu.txt"):
        assert not SECRET.search((WORKER / name).read_text(encoding="utf-8")), name


@pytest.fixture
def answering():
    """A server on the loopback that answers the probe; gives a function from status to port."""
    servers = []

    def start(status):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status if self.path == "/health/live" else 404)
                self.end_headers()

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        servers.append((server, thread))
        return server.server_address[1]

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(("status", "alive"), [(200, True), (503, False), (404, False)])
def test_the_probe_says_what_the_worker_says(answering, status, alive) -> None:
    assert is_alive({"HEALTH_PORT": str(answering(status))}) is alive


def test_a_worker_that_does_not_answer_is_not_alive(answering) -> None:
    port = answering(200)
    probe = [sys.executable, "-m", "gpu_workers.probe"]

    def exit_code(port):
        return subprocess.run(
            probe, cwd=PROJECT, env={"HEALTH_PORT": str(port)}, timeout=60, check=False
        ).returncode

    assert exit_code(port) == 0
    assert exit_code(1) == 1
