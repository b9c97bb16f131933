"""What `laneway dev` refuses, and that nothing of it is left, however it ends."""

from __future__ import annotations

import re
import shutil
import signal
import socket

import httpx
import pytest

from tests.e2e.local_service import (
    PROJECT,
    START_TIMEOUT_S,
    assert_nothing_left,
    eventually,
    free_port,
    is_open,
    local_service,
)

pytestmark = pytest.mark.deployed


@pytest.fixture
def one_model(tmp_path):
    """A repository of one's own with one model, outside the project."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    shutil.copy(PROJECT / "models" / "pools.toml", folder)
    shutil.copytree(
        PROJECT / "models" / "breast-cancer",
        folder / "breast-cancer",
        ignore=shutil.ignore_patterns("__pycache__", "golden*.json"),
    )
    return folder


def wait_until_tools_run(service):
    """Return in the midst of the start: the emulator is up and the CDK is at work."""
    service.wait_for("packages and stacks", timeout_s=60)
    assert eventually(
        lambda: any("bin/cdk" in command for command in service.processes()), timeout_s=30
    )
    assert is_open(service.port)


def test_a_port_in_use_is_an_error_before_anything_is_started(tmp_path, one_model):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with local_service(tmp_path / "state", one_model, port) as service:
            assert service.process.wait(timeout=30) == 1
    assert f"Port {port} on 127.0.0.1 is in use" in service.output
    assert "LANEWAY_PORT=" in service.output
    assert not (service.state / "logs").exists(), "a tool was started"


def test_a_second_service_in_the_same_folder_is_refused_and_the_first_goes_on(service):
    with local_service(service.state, service.models, service.port) as second:
        assert second.process.wait(timeout=30) == 1
    assert f"process {service.process.pid}" in second.output
    assert httpx.get(f"{service.endpoint}/v2/health/live", headers=service.headers).is_success


def test_a_folder_without_models_is_an_error_that_names_it(tmp_path):
    with local_service(tmp_path / "state", tmp_path / "nowhere", free_port()) as service:
        assert service.process.wait(timeout=30) == 1
    assert "nowhere" in service.output
    assert "Traceback" not in service.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_service_stopped_while_it_starts_leaves_nothing(tmp_path, one_model, number):
    with local_service(tmp_path / "state", one_model, free_port()) as service:
        wait_until_tools_run(service)
        assert service.stop(number) == 0
        assert_nothing_left(service)


def test_a_killed_service_takes_all_its_processes_along(tmp_path, one_model):
    with local_service(tmp_path / "state", one_model, free_port()) as service:
        wait_until_tools_run(service)
        service.stop(signal.SIGKILL)
        assert eventually(lambda: service.processes() == [], timeout_s=15)
        assert eventually(lambda: service.scratch() == [], timeout_s=5)
        assert not is_open(service.port)


def test_a_model_that_does_not_answer_ends_the_start_with_the_functions_own_words(
    tmp_path, copied_models
):
    """It is admitted, since its answers are right where it is looked at; on Lambda they are not."""
    models = tmp_path / "models"
    models.mkdir()
    for name in ("pools.toml", "requirements-shared.txt"):
        shutil.copy(copied_models / name, models)
    shutil.copytree(copied_models / "page-orientation", models / "page-orientation")
    transform = models / "page-orientation" / "transform.py"
    broken = """outputs["no" if "AWS_LAMBDA_FUNCTION_NAME" in __import__("os").environ else "fetch_name_0"]"""
    transform.write_text(transform.read_text().replace('outputs["fetch_name_0"]', broken))
    with local_service(tmp_path / "state", models, free_port()) as service:
        assert service.process.wait(timeout=START_TIMEOUT_S) == 1
    assert "page-orientation is deployed and does not answer: 500" in service.output
    assert re.search(r"transform\.py:\d+ in postprocess", service.output), service.output
    assert_nothing_left(service)
