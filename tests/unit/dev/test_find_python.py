"""Set-up takes the newest Python that really runs, not the newest name on the PATH."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "find-python"


@pytest.fixture
def path(tmp_path):
    """A PATH of our own; returns a function that puts a command on it."""

    def put(name, script):
        command = tmp_path / name
        command.write_text(f"#!/bin/sh\n{script}\n")
        command.chmod(0o755)
        return command

    put.folder = tmp_path
    return put


def find(folder):
    return subprocess.run(
        ["/bin/sh", SCRIPT],
        env={"PATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_shim_that_fails_is_passed_over(path):
    path("python3.14", "echo 'pyenv: version not installed' >&2; exit 127")
    real = path("python3.12", f'exec "{sys.executable}" "$@"')
    assert find(path.folder).stdout.strip() == str(real)


@pytest.mark.parametrize("version", ["(3, 10)", "(3, 15)"])
def test_a_python_that_is_too_old_or_too_new_is_passed_over(path, version):
    pretend = f"import sys; sys.version_info = {version}; exec(sys.argv[1])"
    path("python3.13", f"exec '{sys.executable}' -c '{pretend}' \"$2\"")
    real = path("python3", f'exec "{sys.executable}" "$@"')
    assert find(path.folder).stdout.strip() == str(real)


def test_without_any_the_way_out_is_named(path):
    path("python3", "exit 1")
    found = find(path.folder)
    assert found.returncode == 1
    assert "python3-venv" in found.stderr
    assert "PYTHON=" in found.stderr
