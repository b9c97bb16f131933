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
from cli.testing.lambdas import REGION

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs" / "client.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def service():
    pull(PROJECT / "models")
    with start_service(PROJECT / "models") as running, running.working():
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
    for expected in (
        "(1, 384)",
        "1 order-7",
        "signature_mismatch inputs[0].shape",
        "succeeded (1, 384)",
        "succeeded BatchCounts(total=1, succeeded=1, failed=0)",
    ):
        assert f"# {expected}" in whole
        assert expected in printed


def test_a_job_dropped_as_the_page_shows_is_answered(service, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    [block] = [block for block in blocks("python") if "submit_to_queue" in block]
    namespace = {}
    exec(block, namespace)  # noqa: S102  the page's own code
    resources = service.resources

    for texts in (["a cat"], ["a long text " * 100_000]):
        job = namespace["drop"](resources.queues["shared"]["async"], resources.bucket, texts)
        assert service.client.wait(job, timeout_s=60, may_appear=True).status == "succeeded"
        assert service.client.result(job)["embedding"].shape == (1, 384)


def test_the_operators_commands_exist():
    lines = "".join(blocks("console")).splitlines()
    assert len(lines) == 5
    for line in lines:
        words = [word for word in shlex.split(line)[1:] if word != "ID"]
        result = CliRunner().invoke(app, [*words[:2], "--help"])
        assert result.exit_code == 0, result.output
        assert all(word in result.output for word in words if word.startswith("--"))


def test_the_shell_lines_answer(at_home):
    Image.new("RGB", (300, 200), "white").save(at_home / "scan.png")
    lines = "".join(blocks("sh")).splitlines()

    assert len(lines) == 9
    for line in lines:
        *piped, command = line.split(" | ")
        stdin = shlex.split(piped[0])[1] if piped else None
        result = CliRunner().invoke(app, shlex.split(command)[1:], input=stdin)
        assert result.exit_code == 0, result.output
        assert result.stdout.strip()
