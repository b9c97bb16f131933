"""Writes the folder that a pool's worker image is built from; Docker itself runs only at a deploy.

The image holds the code, the locked packages and the pool's models: what is deployed is one digest,
and a new version of a model is rolled out, and back, as a new image.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Final, Literal

from shared.repository import compile_catalog
from shared.schema.compile import export_validators
from stacks.errors import PackagingError
from stacks.packaging.assets import PROJECT
from stacks.packaging.cache import built
from stacks.packaging.content import Content
from stacks.packaging.models import add_models, pool_lock
from stacks.packaging.requirements import locked, without
from stacks.packaging.sources import modules_needed

if TYPE_CHECKING:
    from pathlib import Path

    from shared.repository import Repository
    from stacks.packaging.assets import Asset, BuildContext

Device = Literal["cuda", "cpu"]
Base = Literal["cuda", "tensorrt", "cpu"]
"""What an image is built on; that with TensorRT is the one of CUDA and its libraries."""

WORKER: Final = PROJECT / "gpu_workers"
IMAGE_FILES: Final = ("Dockerfile", ".dockerignore")
ENTRIES: Final = ("__main__.py", "probe.py")
"""What the container runs: the worker, and the check of its health."""


def build_args(base: Base) -> dict[str, str]:
    """What `docker build` must be told beside the folder."""
    return {"DEVICE": base}


def build_image_context(
    repository: Repository, pool: str, context: BuildContext, *, device: Device
) -> Asset:
    """The folder for the worker of one pool, on devices of one kind.

    Raises PackagingError when the pool's requirements are not locked, or disagree with the worker's.
    """
    content = Content()
    entries = repository.models_of(pool)
    transforms = [entry.transform for entry in entries if entry.transform is not None]
    for path in modules_needed(PROJECT, *(WORKER / name for name in ENTRIES), *transforms):
        content.copy(path, to=path.relative_to(PROJECT).as_posix())
    add_models(content, entries)
    for name in IMAGE_FILES:
        content.copy(WORKER / name, to=name)
    lock = WORKER / f"requirements-{device}.txt"
    content.copy(lock, to="requirements.txt")
    content.written["requirements-pool.txt"] = pool_requirements(repository, pool, lock).encode()
    catalog = {**compile_catalog(repository, pool=pool), "validators": export_validators()}
    content.written["catalog.json"] = json.dumps(catalog, separators=(",", ":")).encode()

    def build(folder: Path) -> None:
        for place, path in content.copied.items():
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / place)
        for place, data in content.written.items():
            (folder / place).write_bytes(data)

    return built(context.root, f"image-{pool}-{device}", content.digest(context), build)


def pool_requirements(repository: Repository, pool: str, worker_lock: Path) -> str:
    """What the pool's transforms import beyond the worker's own packages, locked."""
    text = pool_lock(repository, pool)
    path = repository.folder / f"requirements-{pool}.txt"
    own = locked(worker_lock.read_text(encoding="utf-8"))
    for name, version in locked(text).items():
        if name in own and not set(version.split(" or ")) <= set(own[name].split(" or ")):
            raise PackagingError(
                f"{path} pins {name} {version}, but {worker_lock.name} of the worker has "
                f"{own[name]}; allow {own[name]} in the models' requirements and lock again with: "
                "laneway models lock"
            )
    return without(text, own.keys())
