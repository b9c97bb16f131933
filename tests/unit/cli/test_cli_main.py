"""The `laneway` command itself: what it lists, what it loads, and how it fails."""

import subprocess
import sys

import pytest

from cli.client import ConfigurationError
from cli.main import SUBCOMMANDS, load

HEAVY = ("numpy", "onnxruntime", "onnx", "boto3", "botocore", "pydantic", "httpx", "cli.client")


def test_help_lists_every_subcommand(laneway):
    result = laneway("--help")

    assert result.exit_code == 0
    for name in [*SUBCOMMANDS, "version"]:
        assert f" {name} " in result.stdout


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_each_subcommand_has_help_of_its_own(laneway, name):
    result = laneway(name, "--help")

    assert result.exit_code == 0, result.output
    assert name in result.stdout
    assert load(name).name == name


def test_help_loads_no_subcommand_and_nothing_heavy():
    program = (
        "import sys\nfrom cli.main import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "loaded += [name for name in sys.modules if name.startswith('cli.commands.')]\n"
        "sys.exit(str(loaded) if loaded else 0)"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, timeout=60
    )

    assert done.returncode == 0, done.stderr.decode()


def test_an_unknown_subcommand_is_a_usage_error_with_a_guess(laneway):
    result = laneway("model")

    assert result.exit_code == 2
    assert "models" in result.stderr


def test_an_expected_failure_is_one_message_and_no_traceback(laneway):
    result = laneway("infer", "iris", "--input", "-", stdin='{"inputs": []}')

    assert result.exit_code == 1
    assert result.stderr.startswith("error: no endpoint")
    assert "LANEWAY_ENDPOINT" in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""


def test_with_debug_the_error_itself_comes_through(laneway, monkeypatch):
    monkeypatch.setenv("LANEWAY_DEBUG", "1")

    result = laneway("infer", "iris", "--input", "-", stdin='{"inputs": []}')

    assert isinstance(result.exception, ConfigurationError)


def test_the_version_is_printed(laneway):
    result = laneway("version")

    assert result.stdout.startswith("laneway ") or "make setup" in result.stderr
