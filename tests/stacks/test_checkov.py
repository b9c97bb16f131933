"""checkov over the templates of `prod` with a fleet, of `dev`, and of a stage on RabbitMQ: findings are answered in writing.

It has an environment of its own, `.venv-scanners` (`make scanners`), because it pins boto3. It asks nobody
over the network.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from stacks.scanned import ACCEPTED, Accepted

PROJECT = Path(__file__).parents[2]
CHECKOV = PROJECT / ".venv-scanners" / "bin" / "checkov"
STAGES = ("prod", "dev", "rabbit")
ANSWERS = {(item.rule, item.type, stage) for item in ACCEPTED for stage in item.stages or STAGES}


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """Runs it over templates; gives rule, type of resource and file of each finding, and how many passed."""
    if not CHECKOV.exists():
        message = "checkov is not installed: make scanners"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(message)

    def run(folder):
        done = subprocess.run(
            [CHECKOV, "--directory", folder, "--framework", "cloudformation", "--skip-download",
             "--compact", "--quiet", "--soft-fail", "--output", "json"],
            capture_output=True, text=True, timeout=300, check=True,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path_factory.mktemp("home"))},
        )  # fmt: skip
        report = json.loads(done.stdout)
        assert report["summary"]["parsing_errors"] == 0
        found = {
            (item["check_id"], item["resource"].rpartition(".")[0], Path(item["file_path"]).name)
            for item in report["results"]["failed_checks"]
        }
        return found, report["summary"]["passed"]

    return run


@pytest.fixture(scope="module")
def scanned(scan, gpu_prod, dev, rabbit, tmp_path_factory):
    """All stages in one run: it starts slowly."""
    folder = tmp_path_factory.mktemp("templates")
    for stage, synthesized in zip(STAGES, (gpu_prod, dev, rabbit), strict=True):
        for path in synthesized.folder.glob("*.template.json"):
            shutil.copy(path, folder / f"{stage}-{path.name}")
    return scan(folder)


def test_checkov_finds_nothing_that_is_not_answered_in_writing(scanned):
    findings, passed = scanned
    found = {(rule, kind, file.partition("-")[0]) for rule, kind, file in findings}
    assert passed > 500
    assert found - ANSWERS == set()


def test_no_answer_is_left_for_what_it_does_not_find(scanned):
    findings, _ = scanned
    found = {(rule, kind) for rule, kind, _ in findings}
    assert {(item.rule, item.type) for item in ACCEPTED} - found == set()


def test_checkov_is_no_rubber_stamp(scan, tmp_path):
    bucket = {"Type": "AWS::S3::Bucket", "Properties": {"AccessControl": "PublicRead"}}
    (tmp_path / "open.template.json").write_text(
        json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": {"Open": bucket}})
    )
    findings, _ = scan(tmp_path)
    assert ("CKV_AWS_20", "AWS::S3::Bucket", "open.template.json") in findings


@pytest.mark.parametrize("item", ACCEPTED, ids=lambda item: item.rule)
def test_every_answer_is_a_reason(item: Accepted):
    assert len(item.reason.split()) > 8


def test_no_function_has_a_secret_among_its_variables(gpu_prod):
    """So that Lambda's own key is enough for them: CKV_AWS_173."""
    names = set()
    for function in gpu_prod.properties("AWS::Lambda::Function"):
        for name, value in function.get("Environment", {}).get("Variables", {}).items():
            assert "{{resolve:" not in json.dumps(value), name
            if re.search("SECRET|PASSWORD|TOKEN|PRIVATE|CREDENTIAL", name):
                names.add(name)
    assert names <= {"WEBHOOK_SECRETS", "AMQP_SECRET"}  # where secrets are kept, not what they are
