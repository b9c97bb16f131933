"""Whether a version of a repository may be served: its files, its graph, one row, its golden answers.

Runs in a process with limits (`sandboxed`), and loads the version as the pool's functions do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError

from shared.errors import LanewayError, ModelDigestError
from shared.inference.findings import GoldenFileError, ModelRefusedError
from shared.inference.golden import GOLDEN_FILE, Case, differences, read_cases
from shared.inference.graph_scan import scan
from shared.inference.padding import Padding, PaddingRefusedError
from shared.inference.running import answer, load
from shared.inference.trial import run_once
from shared.repository import MODEL_FILE, RepositoryError, read_model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from shared.inference.admission_limits import AdmissionLimits
    from shared.inference.budget import Steps
    from shared.inference.pipeline import ServedModel
    from shared.repository import ModelEntry


def judge(folder: Path, version: str, limits: AdmissionLimits, steps: Steps) -> int:
    """How many golden answers the version of the model in `folder` gives; it may be served.

    Raises ModelRefusedError with the first thing that speaks against it. `steps`: see `inspect_model`.
    """
    try:
        entry = read_model(folder / "model.toml")
        _check_graph(entry, version, limits, steps)
        size_bytes = sum(file.size_bytes for file in entry.manifests[version].files)
        steps("loading", limits.load_s, size_bytes=size_bytes)
        served = load(entry, version)
        _check_padding(served)
        return _check_answers(entry, served, limits, steps)
    except ModelDigestError as error:
        raise ModelRefusedError(
            f"{error}; if the change is wanted: laneway models lock {folder.name}"
        ) from error
    except (LanewayError, RepositoryError, GoldenFileError, ValidationError) as error:
        raise ModelRefusedError(str(error)) from error


def _check_graph(entry: ModelEntry, version: str, limits: AdmissionLimits, steps: Steps) -> None:
    """The graph is one that may be served, and reads no file that the manifest does not lock."""
    path = entry.folder / version / MODEL_FILE
    locked = {file.path: file.size_bytes for file in entry.manifests[version].files}
    steps("reading the graph", limits.scan_s, size_bytes=sum(locked.values()))
    found = scan(path, limits)
    unlocked = [file for file in found.external_files if file not in locked]
    if unlocked:
        raise ModelRefusedError(
            f"the graph reads {unlocked[0]!r}, which its manifest does not list; lock it with: "
            f"laneway models lock {entry.name}"
        )


def _check_padding(served: ServedModel) -> None:
    if not served.spec.pad:
        return
    try:
        Padding(served.spec, served.session)
    except PaddingRefusedError as error:
        raise ModelRefusedError(f"batching.pad: {error}") from error


def _check_answers(
    entry: ModelEntry, served: ServedModel, limits: AdmissionLimits, steps: Steps
) -> int:
    steps("running one row", limits.run_s)
    recipe, _, failure = run_once(served.session, np.random.default_rng(0), run_s=limits.wall_s)
    cases = _cases_of(entry, served.version)
    if recipe is None and not cases:
        raise ModelRefusedError(
            f"it did not run with random inputs ({failure}), and {GOLDEN_FILE} has no case for it: "
            "write one with an input that it takes"
        )
    wrong = []
    for case in cases:
        steps("giving a golden answer", limits.run_s)
        found = differences(case, answer(served, case.request))
        wrong += [f"{case.name!r}: {difference}" for difference in found]
    if wrong:
        raise ModelRefusedError("golden answers differ: " + "; ".join(wrong))
    return len(cases)


def _cases_of(entry: ModelEntry, version: str) -> Sequence[Case]:
    path = entry.folder / GOLDEN_FILE
    cases = read_cases(path) if path.is_file() else []
    return [case for case in cases if (case.version or entry.spec.default_version) == version]
