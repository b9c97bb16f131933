"""The CDK's entry: what it reads, what it prints to a person, and what it is pinned to."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures import bombs
from tests.stacks.conftest import CONCERNS

PROJECT = Path(__file__).parents[2]


def run_app(tmp_path: Path, **context: str) -> subprocess.CompletedProcess[str]:
    """Run `app.py` as the CDK's command line does, without its command line."""
    environment = {
        **os.environ,
        "CDK_OUTDIR": str(tmp_path / "cdk.out"),
        "CDK_CONTEXT_JSON": json.dumps(context),
    }
    return subprocess.run(
        [sys.executable, "app.py"],
        cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({"stage": "staging"}, "laneway: there is no stage 'staging'; stacks/stages.py has local"),
        ({"models": "no/such/folder"}, "laneway: no/such/folder is not a folder"),
    ],
)
def test_a_mistake_is_told_in_a_line_without_a_traceback(context, message, tmp_path) -> None:
    done = run_app(tmp_path, **context)

    assert done.returncode == 1
    assert done.stderr.strip().startswith(message)
    assert "Traceback" not in done.stderr


def test_a_transform_that_is_not_python_is_told_with_its_line(served_models, tmp_path) -> None:
    models = tmp_path / "models"
    shutil.copytree(served_models, models)
    transform = next(models.glob("*/transform.py"))
    transform.write_text("import numpy\ndef preprocess(:\n")

    done = run_app(tmp_path, models=str(models))

    assert done.returncode == 1
    assert f"laneway: {transform}, line 2: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def without_data(served_models, tmp_path_factory) -> Path:
    """The templates of `prod` as it is before it is destroyed, made with no account."""
    folder = tmp_path_factory.mktemp("prod")
    done = run_app(folder, stage="prod", models=str(served_models), keep_data="false")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return folder / "cdk.out"


def test_a_stage_is_synthesized_with_no_account(without_data) -> None:
    assert {path.name for path in without_data.glob("*.template.json")} == {
        f"laneway-prod-{concern}.template.json" for concern in CONCERNS if concern != "fleet"
    }


def test_a_model_that_asks_for_all_memory_is_not_synthesized(served_models, tmp_path) -> None:
    models = tmp_path / "models"
    shutil.copytree(served_models / "scale", models / "scale")
    shutil.copytree(models / "scale", models / "bomb")
    replace_file(models / "bomb", "2", bombs.constant_of_shape)
    replace_file(models / "bomb", "1", bombs.nested)

    done = run_app(tmp_path, models=str(models))

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "model 'bomb' version '2': one row of random inputs cannot be answered" in done.stderr
    assert "model 'bomb' version '1': the graph is nested deeper than 8" in done.stderr
    assert "scale" not in done.stderr


def replace_file(folder, version, bomb) -> None:
    """Put another file in place of the version's, and lock it as it is."""
    path = bombs.save(folder / version / "model.onnx", bomb)
    manifest = json.loads((folder / version / "manifest.json").read_bytes())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest["model"] = folder.name
    manifest["files"][0].update(sha256=digest, size_bytes=path.stat().st_size)
    (folder / version / "manifest.json").write_text(json.dumps(manifest))


def test_destroying_prod_leaves_nothing_that_bills_but_the_locked_archive(without_data) -> None:
    for path in without_data.glob("*.template.json"):
        for name, resource in json.loads(path.read_bytes())["Resources"].items():
            locked = resource.get("Properties", {}).get("ObjectLockEnabled", False)
            kept = "Retain" if locked else "Delete"
            assert resource.get("DeletionPolicy", "Delete") == kept, (path.name, name)
            assert not resource.get("Properties", {}).get("DeletionProtectionEnabled"), name


def test_make_synth_reads_no_aws_configuration(tmp_path) -> None:
    asked = tmp_path / "asked"
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text(f"[default]\ncredential_process = touch {asked}\n")
    printed = subprocess.run(
        ["make", "-n", "--no-print-directory", "synth", "MODELS=no/such/folder"],
        cwd=PROJECT, capture_output=True, text=True, timeout=60, check=True,
        env={name: value for name, value in os.environ.items() if "MAKE" not in name},
    )  # fmt: skip
    words = shlex.split(printed.stdout.splitlines()[-1])

    done = subprocess.run(
        [*words[:-1], str(tmp_path / "cdk.out")],  # not into the project's own
        cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "HOME": str(tmp_path), "AWS_PROFILE": "default"},
    )  # fmt: skip

    assert "no/such/folder is not a folder" in done.stderr, "the CDK did not get as far as the app"
    assert not asked.exists()


def test_nothing_that_is_synthesized_names_an_account_or_a_region(prod) -> None:
    manifest = json.loads((prod.folder / "manifest.json").read_bytes())

    stacks = [
        artifact
        for artifact in manifest["artifacts"].values()
        if artifact["type"] == "aws:cloudformation:stack"
    ]
    assert {stack["environment"] for stack in stacks} == {"aws://unknown-account/unknown-region"}


def test_the_cdk_runs_from_the_projects_own_environment_and_treats_validation_as_errors() -> None:
    settings = json.loads((PROJECT / "cdk.json").read_text())

    assert settings["app"] == ".venv/bin/python app.py"
    assert settings["context"]["@aws-cdk/core:validateAgainstDefaultRules"] is True


OTHERWISE = {
    # A function with a role of its own in the fleet's network, to empty a security group that nothing is in.
    "@aws-cdk/aws-ec2:restrictDefaultSecurityGroup": False,
    # A stack is tagged too, and so whatever CloudFormation makes for it.
    "@aws-cdk/core:explicitStackTags": False,
    # Nobody is told what a deployment consists of.
    "@aws-cdk/core:enableAdditionalMetadataCollection": False,
    # What another stack still reads is not removed.
    "@aws-cdk/core:defaultCrossStackReferences": "strong",
    # Where it is deployed, and is tested for.
    "@aws-cdk/core:target-partitions": ["aws"],
}
"""Flags of the CDK that are set, and not as the CDK recommends."""


def test_every_flag_of_the_cdk_is_as_it_recommends_or_has_a_reason_not_to_be(prod) -> None:
    manifest = json.loads((prod.folder / "manifest.json").read_bytes())
    flags = manifest["artifacts"]["aws-cdk-lib/feature-flag-report"]["properties"]["flags"]

    found = {
        name: flag.get("userValue", flag.get("unconfiguredBehavesLike", {}).get("v2"))
        for name, flag in flags.items()
    }

    recommended = {name: flag["recommendedValue"] for name, flag in flags.items()}
    assert found == recommended | {name: OTHERWISE[name] for name in OTHERWISE if name in found}


def test_the_cdks_command_line_is_pinned_and_its_lock_names_no_registry() -> None:
    package = json.loads((PROJECT / "package.json").read_text())
    lock = (PROJECT / "package-lock.json").read_text()

    assert package["devDependencies"] == {"aws-cdk": "2.1148.1"}
    assert "dependencies" not in package
    assert json.loads(lock)["packages"]["node_modules/aws-cdk"]["version"] == "2.1148.1"
    assert "resolved" not in lock
