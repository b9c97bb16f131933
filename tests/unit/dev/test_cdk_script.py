"""The CDK's command line refuses to deploy from a Python whose Lambda runtime cannot load onnxruntime."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from stacks.pools import LAMBDA_AMAZON_LINUX_2023_PYTHON

PROJECT = Path(__file__).parents[3]


@pytest.fixture(params=["3.11", "3.12"])
def environment(request, tmp_path):
    """An environment whose Python says that it is this version, and a CDK that only echoes."""
    bin_folder = tmp_path / ".venv" / "bin"
    bin_folder.mkdir(parents=True)
    (bin_folder / "cdk").write_text((PROJECT / "scripts" / "cdk").read_text())
    version = tuple(map(int, request.param.split(".")))
    pretend = f"import sys; sys.version_info = {version}; exec(sys.argv[1])"
    python = bin_folder / "python"
    python.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c '{pretend}' \"$2\"\n")
    python.chmod(0o755)
    cli = tmp_path / "node_modules" / "aws-cdk" / "bin" / "cdk"
    cli.parent.mkdir(parents=True)
    cli.write_text('console.log("cdk", ...process.argv.slice(2))\n')
    return request.param, bin_folder / "cdk"


def run(script, *words, allowed=None):
    return subprocess.run(
        ["/bin/sh", script, *words],
        env={"PATH": "/usr/bin:/bin"} | ({"LANEWAY_OLD_PYTHON": allowed} if allowed else {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("words", [("deploy", "--all"), ("-c", "stage=prod", "deploy"), ("watch",)])
def test_deploying_from_python_3_11_is_refused_with_the_way_out(environment, words):
    version, script = environment

    done = run(script, *words)

    if version == "3.11":
        assert done.returncode == 1
        assert not done.stdout, "the CDK was started all the same"
        assert "make setup PYTHON=python3.13" in done.stderr
        assert "LANEWAY_OLD_PYTHON=allowed" in done.stderr
    else:
        assert done.stdout.split() == ["cdk", *words]


@pytest.mark.parametrize("words", [("synth", "--quiet"), ("destroy", "--all"), ("diff",)])
def test_what_starts_no_function_works_with_any_python(environment, words):
    assert run(environment[1], *words).stdout.split() == ["cdk", *words]


def test_whoever_insists_may_deploy(environment):
    assert run(environment[1], "deploy", allowed="allowed").stdout.split() == ["cdk", "deploy"]
    assert run(environment[1], "deploy", allowed="maybe").returncode == (environment[0] == "3.11")


def test_the_script_and_the_warning_at_synth_mean_the_same_version():
    [said] = re.findall(r"sys\.version_info < (\(.*?\))", (PROJECT / "scripts" / "cdk").read_text())
    assert said == str(LAMBDA_AMAZON_LINUX_2023_PYTHON)


def test_destroying_a_stage_deploys_its_storage_with_any_python():
    makefile = (PROJECT / "Makefile").read_text()
    recipe = makefile.partition("\ndestroy: ")[2].partition("\n\n")[0]
    [deploy] = [line for line in recipe.splitlines() if " deploy " in line]
    assert deploy.startswith("\tLANEWAY_OLD_PYTHON=allowed $(CDK) deploy laneway-$(STAGE)-storage")
