"""The folders that the children import from, each laid out as its own deployment would leave it.

Peers are installed with `uv pip install --target`, as SAM and the CDK do it. Ours is the layer and
the pool package that `stacks.packaging` builds for the CDK. Everything is then dated 1980, as the
zips of both tools date it, and made read-only; children get `-B` besides, because root may write to
read-only folders and Lambda may not.
"""

from __future__ import annotations

import compileall
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from shared.inference import NO_TELEMETRY
from shared.repository import fetched_outputs, read_repository
from shared.settings import RealtimeSettings
from stacks.packaging.models import side_files
from stacks.packaging.unpacked import as_deployed, unpack

ROOT = Path(__file__).parents[2]
PEERS = ROOT / "benchmarks" / "peers"
BUILD = ROOT / "build" / "bench" / str(os.getpid())
"""This run's own folder, removed at its end: two runs at once must not change each other's."""
LAYER_PINS = ROOT / "layers" / "onnx_runtime" / "requirements.txt"


class MissingModelError(Exception):
    """The weights of a model are not here; says how to get them."""


@dataclass(frozen=True)
class BenchModel:
    """A model of the repository that is measured, in the version that is measured."""

    name: str
    version: str

    @property
    def folder(self) -> Path:
        """Where the model lies in the repository."""
        return ROOT / "models" / self.name

    @property
    def fetched(self) -> list[str]:
        """What our runs of it fetch, by the graph's names."""
        entry = read_repository(ROOT / "models").models[self.name]
        return [
            output.name for output in fetched_outputs(entry.spec, entry.manifests[self.version])
        ]

    @property
    def file(self) -> Path:
        """The model file itself. Raises MissingModelError where it was not pulled."""
        path = self.folder / self.version / "model.onnx"
        if not path.is_file():
            raise MissingModelError(f"{path.relative_to(ROOT)} is missing: laneway models pull")
        return path


TABULAR = BenchModel("breast-cancer", "2")
"""A random forest; what is cold-started."""
SMALLEST = BenchModel("breast-cancer", "1")
"""A single decision tree: the least work there is for a handler to hide behind."""
EMBEDDING = BenchModel("sentence-embedding", "1")
HEAVY = BenchModel("text-recognition", "1")
"""Reads lines of text: the one that the repository keeps for gpus."""

ENVIRONMENT = {
    "AWS_LAMBDA_FUNCTION_NAME": "bench",
    "AWS_LAMBDA_FUNCTION_VERSION": "1",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    # Tracer's import is only what it is on Lambda with this set; there is no daemon to send to here.
    "LAMBDA_TASK_ROOT": "/var/task",
    "POWERTOOLS_TRACE_DISABLED": "1",
    # Its makers are told nothing on any side: a tenth of onnxruntime's import goes with it.
    **NO_TELEMETRY,
    **RealtimeSettings(stage="bench", pool="shared", usage_table="usage").to_env(),
}
"""Every child's, ours and peers': what Lambda sets and our own settings."""


@dataclass(frozen=True)
class Package:
    """Folders to import from, in order, and the handler inside them."""

    folders: tuple[Path, ...]
    handler: str
    is_ours: bool = False

    @property
    def search_path(self) -> str:
        """The folders as one colon-separated argument."""
        return ":".join(str(folder) for folder in self.folders)


@cache
def floor_package() -> Path:
    """A folder of numpy and onnxruntime alone, with bytecode that is fresh: the best case of a plain install."""
    target = _made(BUILD / "floor")
    _install(target, "numpy", "onnxruntime")
    compileall.compile_dir(str(target), quiet=2, workers=1)
    return target


@cache
def our_package(*models: str, repository: Path = ROOT / "models") -> Package:
    """Layer and pool package as `stacks.packaging` builds them for a pool of just these models.

    The builds are shared with `cdk deploy` (`build/`), so they are copied before they are dated.
    """
    target = BUILD / f"ours-{models[0]}-{len(models)}"
    unpacked = unpack(read_repository(repository), models, target)
    return Package(
        folders=tuple(unpacked),
        handler="functions.realtime.handler.handler",
        is_ours=True,
    )


@cache
def peer_package(peer: str, model: BenchModel) -> Package:
    """One of `peers/` with the model beside it, as a zip of it arrives on Lambda."""
    target = _made(BUILD / f"{peer}-{model.name}-{model.version}")
    entry = read_repository(ROOT / "models").models[model.name]
    _install(target, "-r", str(PEERS / peer / "requirements.txt"), *entry.spec.requirements)
    sources = [PEERS / peer / "app.py", *(PEERS / "common").glob("*.py")]
    sources += [path for path in model.file.parent.iterdir() if path.name != "manifest.json"]
    sources += side_files(entry) if entry.transform else []
    for source in sources:
        shutil.copy(source, target)
    (target / "MODEL_NAME").write_text(model.name)
    public = [output.name for output in entry.spec.outputs] or model.fetched
    outputs = {"fetched": model.fetched, "public": public}
    (target / "OUTPUTS.json").write_text(json.dumps(outputs))
    as_deployed(target)
    return Package(folders=(target,), handler="app.handler")


def fetch(requirement: str) -> Path:
    """The files of one package alone, without what it requires."""
    target = _made(BUILD / "fetched")
    _install(target, "--no-deps", requirement)
    return target


def remove_all() -> None:
    """Delete what this run has built."""
    shutil.rmtree(BUILD, ignore_errors=True)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _install(target: Path, *what: str) -> None:
    """Install into `target` with the layer's versions of numpy and onnxruntime, without bytecode.

    Files are copied: uv's links would let `as_deployed` change its cache and every environment.
    """
    uv = Path(sys.executable).parent / "uv"
    command = [str(uv), "pip", "install", "--quiet", "--link-mode", "copy"]
    command += ["--target", str(target)]
    command += ["--python", sys.executable, "--constraint", str(LAYER_PINS), *what]
    subprocess.run(command, check=True, timeout=300)
