"""What the fleet scaler loads as Lambda starts it: no arrays, no model, no broker, no pydantic."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.settings.jobs import FleetScalerSettings

PROJECT = Path(__file__).parents[2]
NEVER = {
    "numpy", "onnxruntime", "pydantic", "pika", "aws_xray_sdk", "aws_cdk", "onnx", "moto", "httpx",
}  # fmt: skip
START = "import sys, functions.fleet_scaler.handler\nprint(*sorted(sys.modules))"
SETTINGS = FleetScalerSettings(
    stage="dev",
    cluster="laneway-dev",
    services={"heavy": "laneway-dev-heavy-workers"},
    queues={"heavy": {"async": "https://q/a"}},
    jobs_table="jobs",
    fleet_table="fleet",
    job_s={"heavy": 0.5},
)


def start(env):
    return subprocess.run(
        [sys.executable, "-P", "-c", START],
        env={
            **env,
            "LAMBDA_TASK_ROOT": "/var/task",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "PYTHONPATH": str(PROJECT),
            "PATH": os.environ["PATH"],
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_scaler_starts_from_its_settings_with_what_it_asks_aws_by_and_no_more():
    done = start(SETTINGS.to_env())

    assert done.returncode == 0, done.stderr
    modules = set(done.stdout.split())
    assert {name.partition(".")[0] for name in modules} & NEVER == set()
    functions = {name.split(".")[1] for name in modules if name.startswith("functions.")}
    assert functions == {"fleet_scaler"}


def test_without_settings_the_missing_variables_are_named():
    done = start({})

    assert done.returncode != 0
    assert "STAGE, CLUSTER, SERVICES" in done.stderr


def test_the_entry_point_is_wiring_under_60_lines():
    handler = PROJECT / "functions" / "fleet_scaler" / "handler.py"
    assert len(handler.read_text().splitlines()) < 60


@pytest.mark.parametrize(
    "change",
    [{}, {"job_s": {"a": 0.25, "b": 3.0}, "min_workers": 1}, {"start_s": {"heavy": 600.0}}],
)
def test_settings_that_are_written_to_an_environment_read_back_equal(change):
    settings = FleetScalerSettings.from_env(SETTINGS.to_env() | _written(change))
    assert FleetScalerSettings.from_env(settings.to_env()) == settings
    for name, value in change.items():
        assert getattr(settings, name) == value


def _written(change):

    return {name.upper(): json.dumps(value) for name, value in change.items()}
