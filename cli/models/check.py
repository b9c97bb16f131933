"""Verifies a model repository: what synth would refuse, and what only a run can show.

Nothing stops at the first finding: every model is looked at, and each finding says the way out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from cli.models.folders import MODEL_TOML, model_folders
from cli.models.golden import GOLDEN_FILE, differences, read_cases
from cli.models.requirements import stale_pools
from cli.output import CommandError
from shared.errors import LanewayError
from shared.repository import RepositoryError, read_model, read_repository

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from shared.inference.pipeline import ServedModel
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
    found = [finding for folder in folders for finding in _check_model(folder)]
    return [*found, *_check_whole(repository)]


def _check_model(folder: Path) -> Iterator[Finding]:
    try:
        entry = read_model(folder / MODEL_TOML)
    except RepositoryError as error:
        yield Finding(folder.name, str(error), ok=False)
        return
    yield from _check_sources(entry)
    for version in entry.manifests:
        yield _check_version(entry, version)


def _check_sources(entry: ModelEntry) -> Iterator[Finding]:
    if entry.spec.source is None:
        return
    for file in entry.spec.source.files:
        if not (entry.folder / file.path).is_file():
            what = f"{file.path} is not here; fetch it with: laneway models pull {entry.name}"
            yield Finding(entry.name, what, ok=False)


def _check_version(entry: ModelEntry, version: str) -> Finding:
    """Load the version as a pool would, and compare its answers with the golden ones."""
    from cli.models.running import answer, load

    subject = f"{entry.name} {version}"
    try:
        path = entry.folder / GOLDEN_FILE
        cases = read_cases(path) if path.is_file() else []
        model = load(entry, version)
        if model.spec.pad:
            _check_padding(model)
        own = [case for case in cases if (case.version or entry.spec.default_version) == version]
        wrong = [
            f"{case.name!r}: {difference}"
            for case in own
            for difference in differences(case, answer(model, case.request))
        ]
    except (LanewayError, CommandError, ValidationError) as error:
        return Finding(subject, _with_way_out(error, entry.name), ok=False)
    if wrong:
        return Finding(subject, "golden answers differ: " + "; ".join(wrong), ok=False)
    golden = f"{len(own)} golden answers agree" if own else f"no case in {GOLDEN_FILE}"
    return Finding(subject, f"files as locked, loads, {golden}", ok=True)


def _check_padding(model: ServedModel) -> None:
    """Raises CommandError for a graph that cannot be padded as the declaration says."""
    from shared.inference.padding import Padding, PaddingRefusedError

    try:
        Padding(model.spec, model.session)
    except PaddingRefusedError as error:
        raise CommandError(f"batching.pad: {error}") from error


def _with_way_out(error: Exception, name: str) -> str:
    code = getattr(error, "code", "")
    if code == "model_digest_mismatch":
        return f"{error}; if the change is wanted: laneway models lock {name}"
    return str(error)


def _check_whole(repository: Path) -> Iterator[Finding]:
    try:
        whole = read_repository(repository)
    except RepositoryError as error:
        yield Finding(repository.name, str(error), ok=False)
        return
    for pool, reason in stale_pools(whole):
        yield Finding(f"pool {pool}", f"{reason}; write it with: laneway models lock", ok=False)
