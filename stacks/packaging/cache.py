"""The content-addressed store of builds: a key that was built once is a folder from then on."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from stacks.packaging.assets import Asset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_DIGEST_LENGTH = 32
_KEPT_PER_KIND = 8


def digest_of(parts: Iterable[str | bytes]) -> str:
    """SHA-256 over the parts, each with its length, so that no two lists collide."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big"))
        total.update(data)
    return total.hexdigest()[:_DIGEST_LENGTH]


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, in hex; the file is streamed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def built(root: Path, kind: str, digest: str, build: Callable[[Path], None]) -> Asset:
    """The build of this digest, made by `build(folder)` unless it is there already.

    It is made in a folder beside and moved into place whole: an interrupted build leaves nothing
    that could be taken for a finished one, and two builds at once do no harm.
    """
    target = root / kind / digest
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".making-") as made:
            folder = Path(made) / "content"
            folder.mkdir()
            build(folder)
            _move_into_place(folder, target)
        _forget_old(target.parent)
    os.utime(target)
    return Asset(folder=target, digest=digest)


def _move_into_place(folder: Path, target: Path) -> None:
    try:
        folder.rename(target)
    except OSError:
        if not target.is_dir():  # not another build of the same key that was first
            raise
        shutil.rmtree(folder)


def _forget_old(kind: Path) -> None:
    """Keep the builds that were used last, so that a day of edits does not fill the disk."""
    builds = [path for path in kind.iterdir() if not path.name.startswith(".")]
    for path in sorted(builds, key=lambda path: path.stat().st_mtime)[:-_KEPT_PER_KIND]:
        shutil.rmtree(path, ignore_errors=True)


def size_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
