"""The folder that a pool's image is built from: what is in it, what changes it, and what is refused."""

from __future__ import annotations

import ast
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from gpu_workers.probe import is_alive
from shared.catalog import load_catalog
from shared.repository import read_repository
from shared.settings.jobs import WorkerSettings
from stacks.errors import PackagingError
from stacks.packaging import BuildContext
from stacks.packaging.image import build_args, build_image_context
from stacks.packaging.requirements import install, locked

PROJECT = Path(__file__).parents[2]
POOL = "shared"


@pytest.fixture
def context(tmp_path):
    return BuildContext(root=tmp_path / "build")


@pytest.fixture
def built(small_models, context):
    return build_image_context(read_repository(small_models), POOL, context, device="cuda")


def names_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def needing(small_models, tmp_path, line):
    """A copy of the repository in which a model's transform requires this package, and its lock."""
    models = Path(shutil.copytree(small_models, tmp_path / "models"))
    declaration = models / "shout" / "model.toml"
    declaration.write_text(f'requirements = ["{line}"]\n' + declaration.read_text())
    return models


def test_the_folder_holds_the_worker_the_models_and_what_docker_reads(built):
    names = names_in(built.folder)

    assert {
        "Dockerfile", ".dockerignore", "requirements.txt", "requirements-pool.txt", "catalog.json",
        "gpu_workers/__main__.py", "gpu_workers/worker.py", "gpu_workers/watcher.py",
        "gpu_workers/probe.py", "shared/jobs/work.py", "models/scale/1/model.onnx",
        "models/shout/transform.py",
    } <= names  # fmt: skip


def test_the_folder_holds_nothing_of_other_entry_points_or_pools(built):
    names = names_in(built.folder)

    assert not [name for name in names if name.startswith(("functions/", "stacks/", "cli/"))]
    assert not [name for name in names if name.startswith("models/queued")]
    assert not [name for name in names if name.endswith((".pyc", ".in"))]


def test_every_file_that_the_dockerfile_copies_is_in_the_folder(built):
    text = (built.folder / "Dockerfile").read_text()
    copied = [
        name
        for line in re.findall(r"(?m)^COPY (?!--from)(.+)$", text)
        for name in line.split()[:-1]
    ]

    assert copied
    for name in copied:
        assert (built.folder / name).exists(), name


def test_the_catalog_is_the_pools(built, small_models):
    catalog = load_catalog(built.folder / "catalog.json")

    models = read_repository(small_models).models_of(POOL)
    assert set(catalog.models) == {entry.name for entry in models}
    assert catalog.validators


def test_everything_that_the_worker_imports_is_in_the_image(built):
    """An import that only the project's own environment satisfies would end the first container."""
    lock = locked((built.folder / "requirements.txt").read_text())
    distributions = packages_distributions()

    for path in (*built.folder.glob("gpu_workers/**/*.py"), *built.folder.glob("shared/**/*.py")):
        for name in _imported(ast.parse(path.read_bytes())):
            top = name.partition(".")[0]
            if top in sys.stdlib_module_names or top in ("shared", "gpu_workers"):
                continue
            owners = {re.sub(r"[-_.]+", "-", item).lower() for item in distributions[top]}
            owners |= {f"{item}-gpu" for item in owners}
            assert owners & set(lock), f"{path.name} imports {name}"


def _imported(tree):
    """Absolute imports anywhere but under TYPE_CHECKING."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module
        else:
            yield from _imported(node)


def test_the_worker_starts_from_the_folder_with_the_locked_packages_alone(
    small_models, tmp_path, context
):
    """As far as an image can be run without Docker: its files, its packages, and nothing else."""
    made = build_image_context(read_repository(small_models), POOL, context, device="cpu")
    packages = tmp_path / "packages"
    for name in ("requirements.txt", "requirements-pool.txt"):
        install((made.folder / name).read_text(), packages, context)
    log = tmp_path / "worker.log"
    with log.open("wb") as output:
        worker = subprocess.Popen(
            [sys.executable, "-S", "-m", "gpu_workers"],
            cwd=made.folder,
            env={**settings_of(made.folder), "PYTHONPATH": f"{made.folder}:{packages}"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        port = wait_for(lambda: port_in(log.read_text(), worker))
        wait_for(lambda: is_alive({"HEALTH_PORT": str(port)}))
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0, log.read_text()
    finally:
        worker.kill()
        worker.wait()


def settings_of(package):
    """The environment of a worker whose services are not there: it waits for them."""
    settings = WorkerSettings(
        stage="local",
        pool=POOL,
        models=str(package),
        queues={POOL: {"async": "http://127.0.0.1:1/queue"}},
        jobs_table="jobs",
        bucket="bucket",
        health_port=0,
        drain_s=5,
    )
    return {
        **settings.to_env(),
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def port_in(text, worker):
    """The port that the worker says that it answers on."""
    assert worker.poll() is None, text
    found = re.search(r'"health_port":(\d+)', text)
    return found and int(found[1])


def wait_for(condition, *, timeout_s=60):
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)
    return found


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_each_device_has_its_own_lock_and_is_named_to_docker(small_models, context, device):
    made = build_image_context(read_repository(small_models), POOL, context, device=device)

    expected = (PROJECT / f"gpu_workers/requirements-{device}.txt").read_text()
    assert (made.folder / "requirements.txt").read_text() == expected
    assert build_args(device) == {"DEVICE": device}


def test_the_same_sources_make_the_same_image_and_a_changed_model_another(
    small_models, tmp_path, context, built
):
    models = needing(small_models, tmp_path, "")
    (models / "shout" / "model.toml").write_text((small_models / "shout/model.toml").read_text())
    again = build_image_context(read_repository(models), POOL, context, device="cuda")
    assert again == built

    with (models / "shout" / "transform.py").open("a") as file:
        file.write("# another\n")

    changed = build_image_context(read_repository(models), POOL, context, device="cuda")
    assert changed.digest != built.digest


def test_what_transforms_import_is_added_but_for_what_the_worker_has(
    small_models, tmp_path, context
):
    models = needing(small_models, tmp_path, "pillow>=12")
    own = (PROJECT / "gpu_workers/requirements-cuda.txt").read_text()
    numpy = next(block for block in re.split(r"(?m)^(?=\S)", own) if block.startswith("numpy"))
    (models / f"requirements-{POOL}.txt").write_text(
        f"pillow==13.0.0 \\\n    --hash=sha256:{'0' * 64}\n{numpy}"
    )

    made = build_image_context(read_repository(models), POOL, context, device="cuda")

    pool = locked((made.folder / "requirements-pool.txt").read_text())
    assert pool == {"pillow": "13.0.0"}


def test_a_pool_whose_requirements_are_not_locked_is_refused(small_models, tmp_path, context):
    models = needing(small_models, tmp_path, "pillow>=12")

    with pytest.raises(PackagingError, match=r"shout requires pillow>=12; .*models lock"):
        build_image_context(read_repository(models), POOL, context, device="cuda")


def test_a_pool_that_pins_what_the_worker_pins_otherwise_is_refused(
    small_models, tmp_path, context
):
    models = needing(small_models, tmp_path, "orjson")
    (models / f"requirements-{POOL}.txt").write_text("orjson==3.0.0\n")

    with pytest.raises(PackagingError, match=r"pins orjson 3\.0\.0, but requirements-cuda\.txt"):
        build_image_context(read_repository(models), POOL, context, device="cuda")


def test_the_repositorys_own_gpu_pool_can_be_an_image(context):
    made = build_image_context(read_repository(PROJECT / "models"), "heavy", context, device="cuda")

    assert "pillow" in locked((made.folder / "requirements-pool.txt").read_text())
    catalog = json.loads((made.folder / "catalog.json").read_text())
    assert [model["name"] for model in catalog["models"]] == ["text-recognition"]
