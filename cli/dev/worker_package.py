"""The package of a pool's worker, as the image of a fleet holds it: catalog, models, what transforms import.

The models are a link to the repository: nothing is copied, and each file's digest is verified when it is
loaded. What transforms import is installed from the pool's lock into a folder of its own.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cli.dev.watch import matters
from cli.models.uv import run_uv
from shared.repository import compile_catalog
from shared.schema.compile import export_validators

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cli.dev.deploy import Target
    from shared.repository import Repository

CODE: Final = ("gpu_workers", "shared")


@dataclass(frozen=True, slots=True)
class WorkerPackage:
    """Where it lies; equal to another one while code, models and requirements are the same."""

    folder: Path
    packages: Path
    """Where what the pool's transforms import is installed."""
    digest: str


def make_package(target: Target, repository: Repository, pool: str) -> WorkerPackage:
    """The package of this pool as the sources are now."""
    folder = target.state.folder / "workers" / pool
    folder.mkdir(parents=True, exist_ok=True)
    content = {**compile_catalog(repository, pool=pool), "validators": export_validators()}
    catalog = json.dumps(content).encode()
    _put(folder / "catalog.json", catalog)
    _link(folder / "models", repository.folder)
    lock = repository.folder / f"requirements-{pool}.txt"
    needed = any(entry.spec.requirements for entry in repository.models_of(pool))
    packages = _installed(folder / "packages", lock) if needed else folder / "packages"
    models = [repository.folder / entry.name for entry in repository.models_of(pool)]
    code = [target.project / name for name in CODE]
    digest = hashlib.sha256(catalog + _facts([*code, *models, lock]).encode())
    return WorkerPackage(folder, packages, digest.hexdigest())


def _put(path: Path, content: bytes) -> None:
    """Replace the file at once, or not at all: a worker that starts may be reading it."""
    draft = path.with_suffix(".draft")
    draft.write_bytes(content)
    draft.replace(path)


def _link(link: Path, folder: Path) -> None:
    if not link.is_symlink() or link.readlink() != folder:
        link.unlink(missing_ok=True)
        link.symlink_to(folder, target_is_directory=True)


def _installed(packages: Path, lock: Path) -> Path:
    """The folder with what the lock names; installed when the lock is another one than last time."""
    stamp = packages / ".lock"
    wanted = f"{sys.version}\n{lock.read_text(encoding='utf-8')}"
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted:
        shutil.rmtree(packages, ignore_errors=True)
        into = ["--target", str(packages), "--python", sys.executable]
        from_lock = ["--require-hashes", "--requirement", str(lock)]
        run_uv(["pip", "install", "--quiet", *into, *from_lock], doing=f"Installing {lock.name}")
        stamp.write_text(wanted, encoding="utf-8")
    return packages


def _facts(roots: list[Path]) -> str:
    """Names, sizes and times of all files that can make a difference."""
    lines = (f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in _files(roots))
    return "\n".join(lines)


def _files(roots: list[Path]) -> Iterator[Path]:
    for root in roots:
        found = [root, *root.rglob("*")] if root.is_dir() else [root]
        yield from sorted(
            path for path in found if path.is_file() and matters(path.relative_to(root))
        )
