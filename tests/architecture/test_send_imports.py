"""What the sending function loads as Lambda starts it, and that nobody else loads pika."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from shared.settings.jobs import SendSettings, SweeperSettings

PROJECT = Path(__file__).parents[2]
NAMES = {"shared": {"async": "laneway-dev-shared-async"}}
SEND = SendSettings(stage="dev", queues=NAMES, amqp_secret="arn:aws:secretsmanager:x")
SWEEPER = SweeperSettings(
    stage="dev",
    jobs_table="jobs",
    bucket="b",
    broker="rabbitmq",
    send_function="send",
    queues=NAMES,
)
START = "import sys, functions.{name}.handler\nprint(*sorted(sys.modules))"


def packages_of(name, env):
    """The top-level packages that importing a handler loads, and the modules."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", START.format(name=name)],
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
    assert done.returncode == 0, done.stderr
    modules = set(done.stdout.split())
    return {module.partition(".")[0] for module in modules}, modules


def test_send_starts_without_schema_arrays_and_the_runtime():
    packages, modules = packages_of("send", SEND.to_env())
    assert packages >= {"pika", "boto3"}
    assert packages & {"numpy", "onnxruntime", "pydantic", "aws_xray_sdk", "aws_cdk"} == set()
    assert {name.split(".")[1] for name in modules if name.startswith("functions.")} == {"send"}


def test_a_sweeper_that_sends_to_rabbitmq_loads_no_pika():
    packages, _ = packages_of("sweeper", SWEEPER.to_env())
    assert "boto3" in packages
    assert "pika" not in packages


def test_the_entry_point_is_wiring_under_60_lines():
    assert len((PROJECT / "functions/send/handler.py").read_text().splitlines()) < 60


def test_settings_that_are_written_to_an_environment_read_back_equal():
    assert SendSettings.from_env(SEND.to_env()) == SEND


@pytest.mark.parametrize("name", ["pika", "boto3"])
def test_the_package_pins_the_version_of_the_project(name):
    """Of pika its own lock, of the rest the control layer's."""
    own = "functions/send" if name == "pika" else "layers/control"
    pinned = re.compile(rf"^{name}==(\S+)", re.MULTILINE)
    texts = (PROJECT / own / "requirements.txt", PROJECT / "requirements" / "dev.txt")
    versions = {pinned.search(text.read_text())[1] for text in texts}
    assert len(versions) == 1
