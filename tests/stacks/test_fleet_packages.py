"""The functions of the fleet as they are deployed: with the layer and their package, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from shared.settings.jobs import FleetScalerSettings, SendSettings
from stacks.packaging import BuildContext
from stacks.packaging.build import build_function
from stacks.packaging.layers import CONTROL, build_layer

QUEUES = {"heavy": {"async": "laneway-dev-heavy-async"}}
SCALER = FleetScalerSettings(
    stage="dev",
    cluster="c",
    services={"heavy": "s"},
    queues=QUEUES,
    jobs_table="j",
    fleet_table="f",
    job_s={"heavy": 1.0},
    broker="rabbitmq",
    send_function="send",
)
START = """
import sys
sys.path[:0] = {paths!r}
import functions.{name}.handler as entry
assert callable(entry.handler)
places = {{name.partition(".")[0]: getattr(module, "__file__", None) or ""
          for name, module in sys.modules.items()}}
print(places.get("boto3"), places.get("pika"))
"""


@pytest.mark.parametrize(
    ("name", "settings"),
    [("fleet_scaler", SCALER), ("send", SendSettings(stage="dev", queues=QUEUES))],
)
def test_a_function_starts_with_its_layer_and_package_alone(name, settings, tmp_path) -> None:
    context = BuildContext()
    package = build_function(name, context).folder
    layer = build_layer(CONTROL, context).folder / "python"
    script = START.format(paths=[str(package), str(layer)], name=name)

    done = subprocess.run(
        [sys.executable, "-S", "-P", "-c", script],
        env={
            **settings.to_env(),
            "LAMBDA_TASK_ROOT": str(package),
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "PATH": os.environ["PATH"],
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    boto3, pika = done.stdout.split()
    assert boto3.startswith(str(layer))
    assert pika.startswith(str(package)) == (name == "send")
