"""Leaves versions that no package can hold on S3: each of their files is an asset of its own, by its digest.

A pool of models that would each fit is not helped so: a package is there at once, and S3 costs a start seconds.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from shared.limits import LAMBDA_DISK_MIB_MAX, LAMBDA_DISK_MIB_MIN, LAMBDA_PACKAGE_BYTES, MIB
from stacks.errors import PackagingError
from stacks.packaging.cache import size_bytes
from stacks.packaging.models import refuse_changed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from shared.repository import ModelEntry
    from shared.schema.spec import Manifest
    from stacks.packaging.assets import Asset

CODE_BYTES: Final = 4 * MIB
"""Of a package without its models and what their transforms import, generously."""


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """One file that a pool's functions fetch."""

    path: Path
    sha256: str
    size_bytes: int

    @property
    def key(self) -> str:
        """Under which the CDK uploads it: an asset is named by the digest of its digest."""
        return hashlib.sha256(self.sha256.encode()).hexdigest() + self.path.suffix


Fetched = dict[tuple[str, str], "tuple[FetchedFile, ...]"]
"""By model and version."""


def fetched_of(entries: Iterable[ModelEntry], layers: Sequence[Asset]) -> Fetched:
    """The versions that no package beside these layers can hold.

    Raises PackagingError where a function's disk cannot hold them either.
    """
    room_bytes = LAMBDA_PACKAGE_BYTES - CODE_BYTES - sum(size_bytes(part.folder) for part in layers)
    found = {
        (entry.name, version): _files(entry, manifest)
        for entry in entries
        for version, manifest in entry.manifests.items()
        if sum(file.size_bytes for file in manifest.files) > room_bytes
    }
    if disk_mib(found) > LAMBDA_DISK_MIB_MAX:
        names = ", ".join(f"{model} {version}" for model, version in found)
        raise PackagingError(
            f"{names} are fetched from S3, and need a disk of {disk_mib(found)} MiB together; Lambda has "
            f"{LAMBDA_DISK_MIB_MAX}: serve fewer versions (`serve` in model.toml), give each a pool of its "
            'own, or give them compute = "gpu"'
        )
    return found


def disk_mib(fetched: Fetched) -> int:
    """What `/tmp` must have for them, beside what it always has."""
    total_bytes = sum(file.size_bytes for files in fetched.values() for file in files)
    return LAMBDA_DISK_MIB_MIN + -(-total_bytes // MIB)


def add_keys(catalog: Mapping[str, Any], fetched: Fetched) -> None:
    """Say in the compiled catalog of a package where the files are that it has not."""
    for model in catalog["models"]:
        for version in model["versions"]:
            files = fetched.get((model["name"], version["version"]), ())
            keys = {file.sha256: file.key for file in files}
            for item in version["files"]:
                if item["sha256"] in keys:
                    item["key"] = keys[item["sha256"]]


def _files(entry: ModelEntry, manifest: Manifest) -> tuple[FetchedFile, ...]:
    files = []
    for file in manifest.files:
        path = entry.folder / manifest.version / file.path
        refuse_changed(path, entry.name, file.sha256)
        files.append(FetchedFile(path, file.sha256, file.size_bytes))
    return tuple(files)
