"""Verifies a model repository: what synth would refuse, and what only a run can show.

Nothing stops at the first finding: every model is looked at, and each finding says the way out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.models.folders import MODEL_TOML, model_folders
from cli.models.forms import is_measured
from cli.models.requirements import stale_pools
from shared.inference.admission import Admissions
from shared.inference.golden import GOLDEN_FILE
from shared.repository import RepositoryError, read_model, read_pools, read_repository
from shared.schema.spec import PoolSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from shared.inference.admission import Verdict
    from shared.repository import ModelEntry


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: fine, or the problem with it."""

    subject: str
    detail: str
    ok: bool


def check(repository: Path, names: Sequence[str] = ()) -> list[Finding]:
    """Everything that was verified in these models and in the repository as a whole."""
    folders = model_folders(repository, names)
    pools = _pools(repository)
    found = [finding for folder in folders for finding in _check_model(folder, pools)]
    return [*found, *_check_whole(repository)]


def _pools(repository: Path) -> Mapping[str, PoolSpec]:
    """Those that can be read: what is wrong with pools.toml is found with the whole repository."""
    try:
        return read_pools(repository)
    except RepositoryError:
        return {}


def _check_model(folder: Path, pools: Mapping[str, PoolSpec]) -> Iterator[Finding]:
    try:
        entry = read_model(folder / MODEL_TOML)
    except RepositoryError as error:
        yield Finding(folder.name, str(error), ok=False)
        return
    yield from _check_sources(entry)
    pool = pools.get(entry.spec.pool) or PoolSpec()
    versions = [(entry, name, pool) for name in entry.manifests]
    for verdict in Admissions().of_versions(versions):  # remembers nothing: it is asked to look
        yield _finding(verdict)
    yield from _check_forms(entry)


def _check_forms(entry: ModelEntry) -> Iterator[Finding]:
    """What is served although it was measured for another onnxruntime is no failure: it is the plain file."""
    for version, manifest in entry.manifests.items():
        if not is_measured(manifest, entry.spec):
            what = (
                "whether its offline-optimised form pays was not measured with the onnxruntime that is "
                f"installed, so its plain file is served; measure it with: laneway models lock {entry.name}"
            )
            yield Finding(f"{entry.name} {version}", what, ok=True)


def _check_sources(entry: ModelEntry) -> Iterator[Finding]:
    if entry.spec.source is None:
        return
    for file in entry.spec.source.files:
        if not (entry.folder / file.path).is_file():
            what = f"{file.path} is not here; fetch it with: laneway models pull {entry.name}"
            yield Finding(entry.name, what, ok=False)


def _finding(verdict: Verdict) -> Finding:
    subject = f"{verdict.model} {verdict.version}"
    if verdict.judgement is None:
        return Finding(subject, verdict.refusal, ok=False)
    count = verdict.judgement.golden
    golden = f"{count} golden answers agree" if count else f"no case in {GOLDEN_FILE}"
    return Finding(subject, f"files as locked, admitted, {golden}", ok=True)


def _check_whole(repository: Path) -> Iterator[Finding]:
    try:
        whole = read_repository(repository)
    except RepositoryError as error:
        yield Finding(repository.name, str(error), ok=False)
        return
    for pool, reason in stale_pools(whole):
        yield Finding(f"pool {pool}", f"{reason}; write it with: laneway models lock", ok=False)
