"""What the queue worker and the sweeper load as Lambda starts them, and that they start from settings alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.repository import compile_catalog, read_repository
from shared.schema.compile import export_validators
from shared.settings.jobs import (
    BatchFinisherSettings,
    BatchSplitterSettings,
    QueueWorkerSettings,
    SweeperSettings,
    WebhooksSettings,
)

PROJECT = Path(__file__).parents[2]
ARRAYS = {"numpy", "onnxruntime"}
NEVER = {"aws_xray_sdk", "aws_cdk", "onnx", "pika", "moto", "httpx", "typer", "rich"}
START = "import sys, functions.{name}.handler as entry\nprint(*sorted(sys.modules))"
QUEUES = {"shared": {"async": "https://q/a", "batch": "https://q/b"}}
WORKER = QueueWorkerSettings(
    stage="dev", pool="shared", jobs_table="jobs", bucket="b", queues=QUEUES
)
SWEEPER = SweeperSettings(stage="dev", jobs_table="jobs", bucket="b", queues=QUEUES)
BATCHES = {
    "stage": "dev",
    "bucket": "b",
    "queues": QUEUES,
    "batches_table": "batches",
    "split_queue": "https://q/s",
    "finish_queue": "https://q/f",
}
WITHOUT_ARRAYS = {
    "sweeper": SWEEPER,
    "batch_splitter": BatchSplitterSettings(**BATCHES),
    "batch_finisher": BatchFinisherSettings(**BATCHES),
    "webhooks": WebhooksSettings(
        stage="dev",
        jobs_table="jobs",
        webhooks_queue="https://q/w",
        webhooks_dead_letters="https://q/d",
    ),
}


@pytest.fixture(scope="module")
def package(small_models, tmp_path_factory):
    """Sources, models and catalog, laid out as in a deployed package."""
    folder = tmp_path_factory.mktemp("package")
    for name in ("functions", "shared"):
        (folder / name).symlink_to(PROJECT / name, target_is_directory=True)
    (folder / "models").symlink_to(small_models, target_is_directory=True)
    compiled = compile_catalog(read_repository(small_models), pool="shared")
    (folder / "catalog.json").write_text(json.dumps(compiled | {"validators": export_validators()}))
    return folder


def start(package, name, env):
    """The names of all modules that importing a handler loads."""
    return subprocess.run(
        [
            sys.executable,
            "-P",
            "-c",
            START.format(name=name),
        ],
        env={
            **env,
            "LAMBDA_TASK_ROOT": "/var/task",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "PYTHONPATH": str(package),
            "PATH": os.environ["PATH"],
            "HOME": str(package),
        },
        cwd=package,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_queue_worker_starts_from_its_settings(package):
    done = start(package, "queue_worker", WORKER.to_env())
    assert done.returncode == 0, done.stderr
    modules = set(done.stdout.split())
    packages = {name.partition(".")[0] for name in modules}
    assert packages >= ARRAYS | {"boto3", "pydantic"}
    assert packages & NEVER == set()
    functions = {name.split(".")[1] for name in modules if name.startswith("functions.")}
    assert functions == {"queue_worker"}


@pytest.mark.parametrize("name", WITHOUT_ARRAYS)
def test_what_runs_no_model_starts_without_arrays_and_the_runtime(package, name):
    done = start(package, name, WITHOUT_ARRAYS[name].to_env())
    assert done.returncode == 0, done.stderr
    modules = set(done.stdout.split())
    packages = {found.partition(".")[0] for found in modules}
    assert packages & (ARRAYS | NEVER) == set()
    assert "shared.inference" not in modules
    functions = {found.split(".")[1] for found in modules if found.startswith("functions.")}
    assert functions == {name}


@pytest.mark.parametrize("name", ["queue_worker", *WITHOUT_ARRAYS])
def test_without_settings_the_missing_variable_is_named(package, name):
    done = start(package, name, {})
    assert done.returncode != 0
    assert "STAGE" in done.stderr


@pytest.mark.parametrize("name", ["queue_worker", *WITHOUT_ARRAYS])
def test_an_entry_point_is_wiring_under_60_lines(name):
    lines = (PROJECT / "functions" / name / "handler.py").read_text().splitlines()
    assert len(lines) < 60


@pytest.mark.parametrize(
    "settings",
    [
        QueueWorkerSettings(
            stage="dev",
            pool="shared",
            jobs_table="jobs",
            queues=QUEUES,
            dead_letters={"async": "https://q/d"},
            models_elsewhere={"text": ["bert"]},
            threads=3,
            tenant="acme",
            webhooks_queue="https://q/w",
            deadline_margin_ms=7,
            session_budget_mib=8,
        ),
        SweeperSettings(
            stage="dev", webhooks_queue="https://q/w", unsent_after_s=2.5, rows_per_pass=9
        ),
    ],
    ids=["queue_worker", "sweeper"],
)
def test_settings_that_are_written_to_an_environment_read_back_equal(settings):
    assert type(settings).from_env(settings.to_env()) == settings
