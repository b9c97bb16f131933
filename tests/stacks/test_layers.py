"""The layers: locked, small, and loaded from their bytecode as the CDK's zip leaves it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import tomllib
import zipfile
from pathlib import Path

import boto3
import pytest

from cli.profile.measure import event_of
from cli.profile.processes import Target, cold_start, has_runtime_client
from shared.limits import LAMBDA_MEMORY_MIB_PER_VCPU
from stacks.packaging import BuildContext
from stacks.packaging.cache import size_bytes
from stacks.packaging.layers import CONTROL, ONNX_RUNTIME, build_layer
from stacks.packaging.requirements import locked

PROJECT = Path(__file__).parents[2]
MB = 1_000_000
SIZE_BUDGET_BYTES = {"x86_64": 100 * MB, "arm64": 95 * MB}
ACCOUNT, REGION = "000000000042", "us-east-1"
START_TIMEOUT_S = 30


@pytest.mark.parametrize("architecture", SIZE_BUDGET_BYTES)
def test_the_serving_layer_with_its_bytecode_stays_within_its_budget(architecture) -> None:
    layer = build_layer(ONNX_RUNTIME, BuildContext(architecture=architecture))

    assert size_bytes(layer.folder) <= SIZE_BUDGET_BYTES[architecture]


@pytest.mark.parametrize("architecture", SIZE_BUDGET_BYTES)
@pytest.mark.parametrize("recipe", [ONNX_RUNTIME, CONTROL], ids=lambda recipe: recipe.name)
def test_native_code_in_a_layer_is_for_its_machine(recipe, architecture) -> None:
    machine = {"x86_64": 0x3E, "arm64": 0xB7}[architecture]  # e_machine of the ELF header

    layer = build_layer(recipe, BuildContext(architecture=architecture))

    libraries = [path for path in layer.folder.rglob("*.so*") if path.is_file()]
    assert libraries
    for path in libraries:
        header = path.read_bytes()[:20]
        assert header[:4] == b"\x7fELF"
        assert int.from_bytes(header[18:20], "little") == machine, path


def test_the_serving_layer_has_one_copy_of_the_runtime_and_what_sessions_need_beside_it() -> None:
    layer = build_layer(ONNX_RUNTIME, BuildContext())

    native = {path.name for path in (layer.folder / "python/onnxruntime/capi").glob("*.so*")}
    assert "libonnxruntime_providers_shared.so" in native
    assert not any(name.startswith("libonnxruntime.so") for name in native)


def test_the_serving_layer_holds_nothing_that_only_other_functions_import() -> None:
    layer = build_layer(ONNX_RUNTIME, BuildContext())

    names = {path.name for path in (layer.folder / "python").iterdir()}
    assert {"numpy", "onnxruntime", "orjson", "pydantic_core"} <= names
    assert not names & {"boto3", "botocore", "pydantic", "google", "aws_xray_sdk", "bin", ".lock"}


def test_the_control_layer_holds_neither_arrays_nor_runtime() -> None:
    layer = build_layer(CONTROL, BuildContext())

    names = {path.name for path in (layer.folder / "python").iterdir()}
    assert {"boto3", "pydantic", "orjson"} <= names
    assert not names & {"numpy", "onnxruntime"}


@pytest.mark.parametrize("recipe", [ONNX_RUNTIME, CONTROL], ids=lambda recipe: recipe.name)
def test_a_layers_versions_are_the_ones_that_the_project_is_tested_with(recipe) -> None:
    tested = locked((PROJECT / "requirements/dev.txt").read_text())
    layer = locked(recipe.lock.read_text())

    assert layer == {name: tested[name] for name in layer}


def test_both_layers_agree_with_what_the_project_pins() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    pinned = dict(item.split("==") for item in project["dependencies"] if "==" in item)

    for recipe in (ONNX_RUNTIME, CONTROL):
        for name, version in locked(recipe.lock.read_text()).items():
            assert pinned.get(name, version) == version


@pytest.mark.parametrize("recipe", [ONNX_RUNTIME, CONTROL], ids=lambda recipe: recipe.name)
def test_every_locked_package_has_hashes_and_no_lock_names_an_index(recipe) -> None:
    text = recipe.lock.read_text()

    requirements = [line for line in text.splitlines() if "==" in line]
    assert requirements
    assert all(line.endswith("\\") for line in requirements)
    assert "http" not in text
    assert "index-url" not in text


def test_a_layer_is_built_once() -> None:
    first = build_layer(CONTROL, BuildContext())
    inode = first.folder.stat().st_ino

    second = build_layer(CONTROL, BuildContext())

    assert second == first
    assert second.folder.stat().st_ino == inode


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory):
    """A place that the CDK publishes assets to: the emulator's S3, and where its version is read."""
    python = PROJECT / ".venv-emulator" / "bin" / "python"
    if not python.exists():
        if os.environ.get("CI"):
            pytest.fail("the emulator's environment is missing; make setup makes it")
        pytest.skip("the emulator's environment is not there; make setup makes it")
    home = tmp_path_factory.mktemp("emulator")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TMPDIR": str(home),
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "SERVICES": "iam,s3,ssm,sts",
    }
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [python, "-m", "ministack"], env=environment, cwd=home, stdout=log, stderr=log
        )
    try:
        _wait_until_it_answers(process, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=START_TIMEOUT_S)


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        assert process.poll() is None, "the emulator ended while it started"
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)  # between two looks at the condition, not instead of it
    pytest.fail("the emulator did not answer")


@pytest.fixture(scope="module")
def zips(emulator, served_models, tmp_path_factory) -> list[Path]:
    """The zips that the CDK's own command line makes and uploads for stage `local`."""
    folder = tmp_path_factory.mktemp("published")
    credentials = {
        "aws_access_key_id": ACCOUNT,
        "aws_secret_access_key": "local",
        "region_name": REGION,
        "endpoint_url": emulator,
    }
    bucket = f"cdk-hnb659fds-assets-{ACCOUNT}-{REGION}"
    boto3.client("s3", **credentials).create_bucket(Bucket=bucket)
    boto3.client("ssm", **credentials).put_parameter(
        Name="/cdk-bootstrap/hnb659fds/version", Value="30", Type="String"
    )
    _publish(emulator, served_models, folder)
    found = []
    s3 = boto3.client("s3", **credentials)
    for item in s3.list_objects_v2(Bucket=bucket)["Contents"]:
        if item["Key"].endswith(".zip"):
            found.append(folder / item["Key"])
            s3.download_file(bucket, item["Key"], str(found[-1]))
    return found


def _publish(endpoint: str, models: Path, folder: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(folder),  # the command line remembers accounts by key there
        "JSII_RUNTIME_PACKAGE_CACHE_ROOT": str(Path.home() / ".cache/aws/jsii/package-cache"),
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_REGION": REGION,
        "CDK_DISABLE_CLI_TELEMETRY": "true",
    }
    done = subprocess.run(
        [
            PROJECT / "node_modules/.bin/cdk", "publish-assets", "--all",
            "--app", f"{sys.executable} app.py",  # what runs the tests, where it is not .venv
            "--unstable=publish-assets", "-c", "stage=local", "-c", f"models={models}",
            "-o", str(folder / "cdk.out"),
        ],
        cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def deployed(zips, tmp_path_factory) -> Path:
    """`opt` and `task` as Lambda lays them out for a pool; every source is made unusable.

    A source that raises when it is compiled proves more than a trace: what then still runs has been
    loaded from bytecode, whatever the dates are.
    """
    folder = tmp_path_factory.mktemp("lambda")
    for path in zips:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            if "python/onnxruntime/__init__.py" in names:
                _unpack(archive, folder / "opt")
            elif "functions/realtime/handler.py" in names and _holds(archive, "scale"):
                _unpack(archive, folder / "task")
    for source in folder.rglob("*.py"):
        if source.name != "transform.py" and source.parent != folder:
            _spoil(source)
    return folder


def _holds(archive: zipfile.ZipFile, model: str) -> bool:
    return any(name.startswith(f"models/{model}/") for name in archive.namelist())


def _unpack(archive: zipfile.ZipFile, folder: Path) -> None:
    """With the dates that are in the zip, and read-only."""
    archive.extractall(folder)
    for item in archive.infolist():
        path = folder / item.filename
        seconds = time.mktime((*item.date_time, 0, 0, -1))
        os.utime(path, (seconds, seconds))
        path.chmod(0o444 if path.is_file() else 0o755)


def _spoil(source: Path) -> None:
    stat = source.stat()
    source.chmod(0o644)
    source.write_text("raise ImportError('this source was compiled')\n")
    os.utime(source, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    source.chmod(0o444)


def test_the_zips_date_every_file_1980(zips) -> None:
    years = set()
    for path in zips:
        with zipfile.ZipFile(path) as archive:
            years |= {item.date_time[0] for item in archive.infolist() if not item.is_dir()}

    assert years == {1980}


SESSION = """
import sys
sys.path[:0] = [{task!r}, {opt!r}]
import onnxruntime
session = onnxruntime.InferenceSession({model!r}, providers=["CPUExecutionProvider"])
import numpy
print(session.run(None, {{"x": numpy.ones((1, 2), numpy.float32)}})[0].tolist())
loaded = [m.__file__ for m in list(sys.modules.values()) if getattr(m, "__file__", None)]
assert all(f.startswith(({task!r}, {opt!r}, sys.base_prefix)) for f in loaded), loaded
"""
HANDLER = """
import sys
sys.path[:0] = [{task!r}, {opt!r}]
import functions.realtime.handler as handler
print(handler.handler({{"laneway_probe": {{"model": "scale", "version": None}}}}, None))
"""


def run_isolated(script: str, deployed: Path) -> str:
    """Run in a fresh interpreter that sees its standard library and what is deployed."""
    task = deployed / "task"
    code = script.format(
        task=str(task),
        opt=str(deployed / "opt" / "python"),
        model=str(task / "models/scale/1/model.onnx"),
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        env={
            "STAGE": "local",
            "POOL": "shared",
            "AWS_LAMBDA_FUNCTION_NAME": "laneway-local-shared-realtime",
            "LAMBDA_TASK_ROOT": str(task),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_session_runs_from_layer_and_package_alone_without_reading_a_source(deployed) -> None:
    assert run_isolated(SESSION, deployed).strip() == "[[2.0, 2.0]]"


def test_the_handler_answers_from_layer_and_package_alone_and_writes_no_bytecode(deployed) -> None:
    before = sorted(deployed.rglob("*.pyc"))

    answer = run_isolated(HANDLER, deployed)

    assert "{'ready': True}" in answer
    assert sorted(deployed.rglob("*.pyc")) == before


@pytest.mark.skipif(not has_runtime_client(), reason="awslambdaric's wheels are for Linux")
def test_the_zips_start_and_answer_behind_awss_own_runtime_client(deployed, tmp_path) -> None:
    request = tmp_path / "request.json"
    data = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
    request.write_text(json.dumps({"inputs": [data]}))
    target = Target(
        task=deployed / "task",
        python=deployed / "opt" / "python",
        pool="shared",
        model="scale",
        version="1",
        request=request,
        scratch=tmp_path,
    )

    start = cold_start(target, event_of(target), memory_mib=LAMBDA_MEMORY_MIB_PER_VCPU)

    assert 0 < start.init_ms < start.answered_ms


def test_spoilt_sources_would_be_noticed(deployed, tmp_path) -> None:
    copy = Path(shutil.copytree(deployed, tmp_path / "copy"))
    for compiled in (copy / "task").rglob("*.pyc"):
        compiled.unlink()

    with pytest.raises(AssertionError, match="this source was compiled"):
        run_isolated(HANDLER, copy)
