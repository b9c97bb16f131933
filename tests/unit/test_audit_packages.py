"""What `make audit-packages` says of what pip-audit tells, and of what it cannot tell."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "audit_packages.py"
CVE = {"id": "CVE-2020-28493", "fix_versions": ["2.11.3"]}
WEAK = {"name": "jinja2", "version": "2.11.2", "vulns": [CVE]}
SOUND = {"name": "orjson", "version": "3.13.0", "vulns": []}
SKIPPED = {"name": "jinja2", "skip_reason": "not found"}


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("audit_packages", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def audit(script, tmp_path):
    """Runs it with a pip-audit that tells this of the weak package, and that of the locks."""

    def run(of_canary, of_locks=()):
        tool = tmp_path / "pip-audit"
        answers = [json.dumps({"dependencies": list(told)}) for told in (of_canary, of_locks)]
        tool.write_text(
            f"#!{sys.executable}\nimport sys\nprint({answers!r}['--require-hashes' in sys.argv])\n"
        )
        tool.chmod(0o755)
        return script.main(str(tool), locks=[tmp_path / "lock.txt"])

    return run


def test_what_is_known_is_told_with_what_mends_it(audit, capsys):
    assert audit([WEAK], [SOUND, WEAK]) == 1
    assert "jinja2 2.11.2: CVE-2020-28493, mended in 2.11.3" in capsys.readouterr().out


def test_sound_packages_pass_and_are_counted(audit, capsys):
    assert audit([WEAK], [SOUND, {"name": "odd", "skip_reason": "not found"}]) == 0
    assert "odd: not looked up\n1 packages looked up, 0 weaknesses" in capsys.readouterr().out


@pytest.mark.parametrize("told", [[SKIPPED], [{**WEAK, "vulns": []}]])
def test_an_index_without_the_data_passes_nothing(audit, script, capsys, told):
    assert audit(told, [SOUND]) == script.UNASKED
    assert capsys.readouterr().out.startswith("NOT AUDITED")


def test_without_a_network_it_says_so(script, tmp_path, capsys):
    tool = tmp_path / "pip-audit"
    tool.write_text("#!/bin/sh\necho 'ConnectionError: no such host' >&2\nexit 1\n")
    tool.chmod(0o755)
    assert script.main(str(tool), locks=[]) == script.UNASKED
    assert "no such host" in capsys.readouterr().out


def test_an_index_that_never_answers_is_no_failure_of_the_packages(
    script, tmp_path, capsys, monkeypatch
):
    tool = tmp_path / "pip-audit"
    tool.write_text("#!/bin/sh\nexec sleep 60\n")
    tool.chmod(0o755)
    monkeypatch.setattr(script, "TIMEOUT_S", 0.1)
    assert script.main(str(tool), locks=[]) == script.UNASKED
    assert "NOT AUDITED" in capsys.readouterr().out


@pytest.mark.parametrize(("required", "status"), [("false", 0), ("true", 1)])
def test_the_command_says_that_nothing_was_audited_and_fails_where_that_is_asked_for(
    required, status
):
    done = subprocess.run(
        [sys.executable, SCRIPT, "/bin/false"],
        env={"PATH": "", "AUDIT_REQUIRED": required},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status
    assert done.stdout.startswith("NOT AUDITED: ")
