"""The files of versions that are too large for a package: fetched from S3 to the function's own disk, once."""

from __future__ import annotations

import threading
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shared.artifacts.ranges import fetch
from shared.artifacts.signing import address_of, credentials_of
from shared.errors import LanewayError, ModelDigestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shared.catalog import FileSpec, ModelVersion
    from shared.inference.verifying import ModelFiles

DISK: Final = "/tmp"  # noqa: S108  the one place that a function may write to
FOLDER: Final = "laneway-models"


class FetchedFiles:
    """`ModelFiles` of a package that leaves some of its versions on S3."""

    def __init__(self, packaged: ModelFiles, *, bucket: str, env: Mapping[str, str]) -> None:
        """`env`: has the region, the credentials and the endpoint, as Lambda sets them; elsewhere TMPDIR too."""
        self._packaged = packaged
        self._bucket, self._env = bucket, env
        self._disk = Path(env.get("TMPDIR", DISK)) / FOLDER
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._digests: dict[Path, str] = {}

    def begin(self, versions: Iterable[ModelVersion]) -> None:
        """Fetch these versions from now on, one after the other, in a thread."""
        fetched = [version for version in versions if version.fetched]
        if fetched:
            threading.Thread(target=self._fetch_all, args=(fetched,), daemon=True).start()

    def folder_of(self, version: ModelVersion) -> Path:
        """Where the version's files are, when they are there.

        Raises ModelUnavailableError where S3 does not give them, ModelDigestError where it gives others.
        """
        if not version.fetched:
            return self._packaged.folder_of(version)
        folder = self._disk / version.folder
        with self._locks[version.folder]:
            for file in version.files:
                if not (folder / file.path).is_file():
                    self._fetch(version, file, folder / file.path)
        return folder

    def sha256_of(self, path: Path) -> str:
        """As it was found on the way, once; later, and of files of the package, as they are."""
        return self._digests.pop(path, "") or self._packaged.sha256_of(path)

    def _fetch(self, version: ModelVersion, file: FileSpec, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        found = fetch(
            address_of(self._bucket, self._env),
            file.key,
            target,
            size_bytes=file.size_bytes,
            credentials=credentials_of(self._env),
        )
        if found != file.sha256:
            target.unlink()
            raise ModelDigestError(
                f"file {file.path!r} of model {version.model!r} version {version.version!r} came "
                f"from S3 with SHA-256 {found[:12]}...; {file.sha256[:12]}... was locked"
            )
        self._digests[target] = found

    def _fetch_all(self, versions: list[ModelVersion]) -> None:
        for version in versions:
            with suppress(LanewayError, OSError):  # whoever needs it tries again, and is told
                self.folder_of(version)
