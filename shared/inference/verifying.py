"""Compares a version's files with what was locked, before anything reads what is in them.

Hashing takes about as long as making a session, and leaves Python free: `HashedAhead` begins it in a
thread while the function still imports numpy and onnxruntime. Imports neither.
"""

from __future__ import annotations

import hashlib
import mmap
import stat
import threading
from typing import TYPE_CHECKING, Protocol

from shared.errors import ModelDigestError, ModelUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from shared.catalog import ModelVersion


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class ModelFiles(Protocol):
    """Where the files of models are."""

    def folder_of(self, version: ModelVersion) -> Path:
        """The folder that has all files of the version; waits for those that are on their way."""
        ...

    def sha256_of(self, path: Path) -> str:
        """Hex SHA-256 of one of them."""
        ...


class PackagedFiles:
    """In the package at `root`, as it was unpacked."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._ahead = HashedAhead(())

    def begin(self, versions: Iterable[ModelVersion]) -> None:
        """Hash the files of these versions from now on, in a thread."""
        self._ahead = HashedAhead(
            self._root / version.folder / file.path
            for version in versions
            if not version.fetched
            for file in version.loaded
        )

    def folder_of(self, version: ModelVersion) -> Path:
        """They are there."""
        return self._root / version.folder

    def sha256_of(self, path: Path) -> str:
        """As soon as it is known."""
        return self._ahead.sha256_of(path)


class HashedAhead:
    """Hashes files in a thread of its own from now on, in the order in which they are given.

    Only for files that nobody changes meanwhile, such as those of a package: they are mapped.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._under_way = {path: _Digest() for path in paths}
        todo = tuple(self._under_way.items())  # its own: what was asked for is taken out
        if todo:
            threading.Thread(target=_hash_all, args=(todo,), daemon=True).start()

    def sha256_of(self, path: Path) -> str:
        """Of a file that is under way: once it is done, and only once. Of any other: read now."""
        digest = self._under_way.pop(path, None)
        if digest is not None:
            digest.done.wait()
            if digest.found is not None:
                return digest.found
        return sha256_of(path)


class _Digest:
    """Of one file; `found` is None until it is done, and where the file cannot be read."""

    __slots__ = ("done", "found")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.found: str | None = None


def _hash_all(todo: tuple[tuple[Path, _Digest], ...]) -> None:
    for path, digest in todo:
        try:
            digest.found = _mapped_sha256(path)
        except (OSError, ValueError):
            pass  # whoever asks reads the file, and is told what is the matter with it
        finally:
            digest.done.set()


def verify_files(
    folder: Path, version: ModelVersion, hashed: Callable[[Path], str] = sha256_of
) -> None:
    """Compare every file that is loaded with the size and SHA-256 that it was locked or shipped with.

    Symbolic links are refused: what they point to can change after this look at it. Hard links are
    looked for when a model is added; packages are unpacked as plain files.
    """
    for file in version.loaded:
        where = f"file {file.path!r} of model {version.model!r} version {version.version!r}"
        path = folder / file.path
        try:
            status = path.lstat()
        except OSError as error:
            raise ModelUnavailableError(f"{where} is missing from the package") from error
        if not stat.S_ISREG(status.st_mode):
            raise ModelDigestError(f"{where} is not a plain file")
        if status.st_size != file.size_bytes:
            raise ModelDigestError(
                f"{where} has {status.st_size} bytes; {file.size_bytes} were locked"
            )
        found = hashed(path)
        if found != file.sha256:
            raise ModelDigestError(
                f"{where} has SHA-256 {found[:12]}...; {file.sha256[:12]}... was locked"
            )


def _mapped_sha256(path: Path) -> str:
    """In one call, for which Python's lock is given up once: a call for each piece would wait for it each time."""
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ) as data:
        return hashlib.sha256(data).hexdigest()
