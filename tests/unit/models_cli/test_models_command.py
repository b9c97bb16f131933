"""`laneway models ...` as a user types it: what is printed, where, and the exit code."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from cli.main import app


@pytest.fixture
def laneway(tmp_path, monkeypatch):
    """Runs a command against the repository in `tmp_path / "repository"`."""
    monkeypatch.setenv("LANEWAY_MODELS", str(tmp_path / "repository"))

    def run(*arguments):
        return CliRunner().invoke(app, ["models", *map(str, arguments)])

    return run


def test_a_model_is_added_listed_shown_and_checked(laneway, onnx_file):
    added = laneway("add", onnx_file(), "--name", "net", "--description", "doubles")
    listed = laneway("list")
    shown = laneway("show", "net")
    checked = laneway("check")

    assert [result.exit_code for result in (added, listed, shown, checked)] == [0, 0, 0, 0]
    assert "added net version 1" in added.stderr
    assert "net" in listed.stdout
    assert "realtime async batch" in listed.stdout
    assert "doubles" in shown.stdout
    assert "[any, 2]" in shown.stdout
    assert "ok    net 1: files as locked, admitted, no case in golden.json" in checked.stdout


def test_a_check_that_fails_ends_with_1_and_the_reasons(laneway, repository):
    (repository / "breast-cancer/1/model.onnx").unlink()

    result = laneway("check")

    assert result.exit_code == 1
    assert "FAIL  breast-cancer 1" in result.stdout
    assert "ok    breast-cancer 2" in result.stdout
    assert "1 of 2 checks failed" in result.stderr


def test_a_refusal_is_one_message_and_no_traceback(laneway, repository):
    result = laneway("add", repository / "pools.toml", "--name", "net")

    assert result.exit_code == 1
    assert "is not an ONNX file" in result.stderr
    assert "Traceback" not in result.output


def test_the_rollback_is_one_command(laneway, repository):
    result = laneway("use", "breast-cancer", "1")

    assert result.exit_code == 0
    assert "default version 1, packaged: 1, 2" in result.stderr
    assert 'default_version = "1"' in (repository / "breast-cancer/model.toml").read_text()


def test_lock_and_pull_say_what_became_of_every_file(laneway, repository):
    locked = laneway("lock", "breast-cancer")
    pulled = laneway("pull")

    assert (locked.exit_code, pulled.exit_code) == (0, 0)
    assert f"{repository}/breast-cancer/2/manifest.json: unchanged" in locked.stderr
    assert "nothing to pull" in pulled.stderr


def test_a_broken_model_is_listed_with_the_reason(laneway, repository):
    (repository / "breast-cancer/model.toml").write_text("colour = 1\n", encoding="utf-8")

    result = laneway("list")

    assert result.exit_code == 0
    assert "broken" in result.stdout


@pytest.mark.parametrize("arguments", [("list",), ("check",), ("pull",), ("lock",)])
def test_a_repository_that_is_not_there_is_named_with_the_option(laneway, arguments):
    result = laneway(*arguments)

    assert result.exit_code == 1
    assert "--models or LANEWAY_MODELS" in result.stderr


def test_the_command_group_loads_no_runtime_until_it_needs_one():
    code = (
        "import sys; import cli.commands.models; from cli.models import pull, edit, show; "
        "print([m for m in ('numpy', 'onnxruntime', 'onnx', 'boto3') if m in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.strip() == "[]"
