"""README.md is true: its Python runs, its shell lines run, and every verb that it names exists."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from cli.models.pull import pull
from cli.testing import start_service

PROJECT = Path(__file__).parents[2]
README = (PROJECT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def shell_lines():
    return [line for kind in ("console", "bash") for line in "".join(blocks(kind)).splitlines()]


@pytest.fixture(scope="module")
def service():
    pull(PROJECT / "models")
    with start_service(PROJECT / "models") as running:
        yield running


@pytest.fixture
def beside_a_running_service(service, monkeypatch, tmp_path):
    """A folder like the project's while `make dev` runs."""
    (tmp_path / ".laneway").mkdir()
    dev = {"endpoint": service.url, "api_key": service.api_key}
    (tmp_path / ".laneway" / "dev.json").write_text(json.dumps(dev))
    (tmp_path / "models").symlink_to(PROJECT / "models")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LANEWAY_ENDPOINT", raising=False)
    monkeypatch.delenv("LANEWAY_API_KEY", raising=False)


@pytest.mark.usefixtures("beside_a_running_service")
def test_the_triton_client_gets_an_embedding(capsys):
    [block] = [block for block in blocks("python") if "tritonclient" in block]
    exec(block, {})  # noqa: S102  the page's own code
    assert capsys.readouterr().out.endswith("(1, 384)\n")


@pytest.mark.usefixtures("beside_a_running_service")
def test_the_commands_for_a_running_service_answer(service):
    lines = "".join(blocks("bash")).splitlines()
    assert len(lines) == 4
    with service.working():
        for line in lines[1:]:
            *piped, command = line.split(" | ")
            stdin = shlex.split(piped[0])[1] if piped else None
            result = CliRunner().invoke(app, shlex.split(command)[1:], input=stdin)
            assert result.exit_code == 0, result.output


def test_the_users_test_passes_in_a_plain_pytest(tmp_path):
    conftest, test = (block for block in blocks("python") if block.startswith("# "))
    (tmp_path / "conftest.py").write_text(conftest)
    (tmp_path / "test_breast_cancer.py").write_text(test)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", tmp_path / "pytest.ini", tmp_path],
        cwd=PROJECT,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "1 passed" in run.stdout


def test_every_make_verb_exists():
    verbs = {shlex.split(line)[1] for line in shell_lines() if line.startswith("make ")}
    makefile = (PROJECT / "Makefile").read_text()
    assert {"dev", "test"} <= verbs
    for verb in verbs:
        assert re.search(rf"^{verb}:", makefile, re.MULTILINE), verb


def test_every_laneway_command_exists():
    lines = [line.split(" | ")[-1] for line in shell_lines()]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("laneway ")]
    assert commands
    for words in commands:
        path = words[: 2 if words[0] in {"models", "keys"} else 1]
        result = CliRunner().invoke(app, [*path, "--help"])
        assert result.exit_code == 0, (path, result.output)


def test_every_linked_file_exists():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (PROJECT / target).exists(), target


def test_the_costs_are_those_of_the_page_about_them():
    page = (PROJECT / "docs" / "costs.md").read_text()
    [row] = [line for line in page.splitlines() if line.startswith("| **USD a month**")]
    _local, dev, prod = re.findall(r"\*\*(?:about )?(\d+)\*\*", row)
    said = " ".join(README.split())
    assert f"`dev` costs about {dev} USD a month and `prod` about {prod}:" in said
    assert re.search(r"prices of (\w+ \d{4})", said)[1] in page


def test_a_model_may_be_added_and_followed_by_a_version_as_described(tmp_path, monkeypatch):
    own = PROJECT / "models" / "breast-cancer" / "1" / "model.onnx"
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        added = CliRunner().invoke(app, ["models", "add", str(own), "--name", "churn"])
        assert added.exit_code == 0, added.output
    used = CliRunner().invoke(app, ["models", "use", "churn", "2"])
    assert "packaged: 2, 1" in used.output
    with start_service(tmp_path / "models") as running:
        (tmp_path / "request.json").write_text(json.dumps({"features": [[0.5] * 30]}))
        result = CliRunner().invoke(
            app,
            ["infer", "churn", "--input", "request.json", "--endpoint", running.url],
            env={"LANEWAY_API_KEY": running.api_key},
        )
    assert result.exit_code == 0, result.output
    assert "churn version 2" in result.output
