"""What the scanners say of the templates: nothing that is not answered in writing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import stacks  # noqa: F401 - before aws_cdk

if TYPE_CHECKING:
    from conftest import Synthesized

OLD_SYSTEM = "Annotation::laneway:python-on-amazon-linux-2"
PROJECT = Path(__file__).parents[2]


def test_security_checks_and_template_validation_find_nothing(every_stage: Synthesized) -> None:
    assert every_stage.error is None
    assert [rule for rule, _ in every_stage.findings if rule != OLD_SYSTEM] == []


def test_an_interpreter_whose_runtime_cannot_load_onnxruntime_is_warned_of_on_aws_only(
    local, prod
) -> None:
    is_old = sys.version_info < (3, 12)

    assert (OLD_SYSTEM, "laneway-prod-pools") in prod.findings or not is_old
    assert len(prod.findings) == int(is_old)
    assert local.findings == []


def test_every_acknowledgement_carries_a_reason(prod: Synthesized, local: Synthesized) -> None:
    reasons = [
        reason
        for synthesized in (prod, local)
        for path in synthesized.folder.glob("*.metadata.json")
        for reason in _reasons(json.loads(path.read_bytes()))
    ]

    assert reasons
    assert all(len(reason.split()) > 5 for reason in reasons)


def _reasons(metadata: dict[str, list[dict[str, object]]]) -> list[str]:
    found = []
    for entries in metadata.values():
        for entry in entries:
            if "acknowledge" in str(entry["type"]):
                data = entry["data"]
                assert isinstance(data, dict)
                found += [str(value) for value in data.values()]
    return found


def test_cfn_lint_finds_nothing(
    dev: Synthesized, gpu_prod: Synthesized, gpu_dev: Synthesized, rabbit: Synthesized
) -> None:
    different = {
        path.read_bytes(): str(path)
        for synthesized in (dev, gpu_prod, gpu_dev, rabbit)
        for path in synthesized.folder.glob("*.template.json")
    }
    templates = sorted(different.values())

    # W3005: the CDK writes DependsOn beside a GetAtt that already orders the two
    done = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), "--ignore-checks", "W3005", "--", *templates],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )

    assert done.stdout == ""
    assert done.returncode == 0


def test_a_template_that_lambda_would_refuse_stops_synthesis(tmp_path: Path) -> None:
    from aws_cdk import App, Duration, Stack  # noqa: PLC0415 - after `stacks`
    from aws_cdk import aws_lambda as lambda_  # noqa: PLC0415 - after `stacks`

    context = json.loads((PROJECT / "cdk.json").read_text())["context"]
    app = App(context=context, outdir=str(tmp_path), analytics_reporting=False)
    lambda_.Function(
        Stack(app, "wrong"),
        "Function",
        runtime=lambda_.Runtime.PYTHON_3_13,
        handler="index.handler",
        code=lambda_.Code.from_inline("def handler(event, context): ..."),
        timeout=Duration.seconds(1800),
    )

    with pytest.raises(RuntimeError, match=r"1800 exceeds maximum 900"):
        app.synth()
