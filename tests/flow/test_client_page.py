"""docs/client.md is true: its Python runs in order, and its shell lines run, against the real models."""

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from cli.main import app
from cli.models.pull import pull
from cli.testing import start_service

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs" / "client.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def service():
    pull(PROJECT / "models")
    with start_service(PROJECT / "models") as running:
        yield running


@pytest.fixture
def at_home(service, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LANEWAY_ENDPOINT", service.url)
    monkeypatch.setenv("LANEWAY_API_KEY", service.api_key)
    return tmp_path


@pytest.mark.usefixtures("at_home")
def test_the_pythons_comments_say_what_it_prints(capsys):
    whole = "\n".join(blocks("python"))
    namespace = {}
    for block in blocks("python"):
        exec(block, namespace)  # noqa: S102  the page's own code

    printed = capsys.readouterr().out
    for expected in ("(1, 384)", "1 order-7", "signature_mismatch inputs[0].shape"):
        assert f"# {expected}" in whole
        assert expected in printed


def test_the_shell_lines_answer(at_home):
    Image.new("RGB", (300, 200), "white").save(at_home / "scan.png")
    lines = "".join(blocks("sh")).splitlines()

    assert len(lines) == 3
    for line in lines:
        *piped, command = line.split(" | ")
        stdin = shlex.split(piped[0])[1] if piped else None
        result = CliRunner().invoke(app, shlex.split(command)[1:], input=stdin)
        assert result.exit_code == 0, result.output
        assert result.stdout.strip()
