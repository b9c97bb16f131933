"""The fixtures as a user has them: another project's folder, its own models, a plain pytest."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
CONFTEST = 'pytest_plugins = ["cli.testing"]\n'
GOOD_TEST = """
def test_scale_triples(laneway_service):
    result = laneway_service.client.infer("scale", {"x": [[1.0, 2.0]]})
    assert result["y"].tolist() == [[3.0, 6.0]]


def test_shout_refuses_an_empty_text(laneway_service):
    body = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [""]}]}
    answer = laneway_service.request("POST", "/v2/models/shout/infer", body=body)
    assert answer.status == 400
    assert "text is empty" in answer.json()["error"]
"""


JOB_TEST = """
def test_a_job_is_run_when_the_test_says_so(laneway_service):
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}
    job = {"model": "scale", "input": {"inputs": [tensor]}}
    accepted = laneway_service.request("POST", "/v2/jobs", body=job)
    result = f"/v2/jobs/{accepted.json()['id']}/result"
    assert laneway_service.request("GET", result).status == 409
    assert laneway_service.run_jobs() == 1
    assert laneway_service.request("GET", result).json()["outputs"][0]["data"] == [3.0, 6.0]


def test_jobs_are_run_as_they_come(laneway_service):
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}
    with laneway_service.working():
        answer = laneway_service.request(
            "POST",
            "/v2/models/queued/infer",
            body={"inputs": [tensor]},
            headers={"prefer": "respond-async, wait=10"},
        )
    assert answer.json()["outputs"][0]["data"] == [2.0, 4.0]
"""


@pytest.fixture
def their_project(small_models, tmp_path):
    shutil.copytree(small_models, tmp_path / "models")
    (tmp_path / "conftest.py").write_text(CONFTEST)
    return tmp_path


def run_pytest(folder):
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_model_and_its_transform_are_tested_in_a_plain_pytest(their_project):
    (their_project / "test_models.py").write_text(GOOD_TEST)
    done = run_pytest(their_project)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_jobs_are_tested_in_a_plain_pytest(their_project):
    (their_project / "test_jobs.py").write_text(JOB_TEST)
    done = run_pytest(their_project)
    assert "2 passed" in done.stdout, done.stdout


def test_a_transform_that_was_broken_fails_their_test(their_project):
    (their_project / "test_models.py").write_text(GOOD_TEST)
    transform = their_project / "models" / "shout" / "transform.py"
    transform.write_text(transform.read_text().replace("text is empty", "no"))
    done = run_pytest(their_project)
    assert "1 failed, 1 passed" in done.stdout


def test_another_folder_is_one_fixture_and_what_cannot_be_deployed_says_why(their_project):
    (their_project / "models").rename(their_project / "elsewhere")
    (their_project / "elsewhere" / "scale" / "model.toml").write_text('default_version = "9"\n')
    (their_project / "conftest.py").write_text(
        f"{CONFTEST}\nimport pathlib\nimport pytest\n\n\n"
        '@pytest.fixture(scope="session")\ndef laneway_models():\n'
        '    return pathlib.Path(__file__).parent / "elsewhere"\n'
    )
    (their_project / "test_models.py").write_text(GOOD_TEST)
    done = run_pytest(their_project)
    assert "elsewhere/scale/model.toml: default_version '9' has no folder" in done.stdout
