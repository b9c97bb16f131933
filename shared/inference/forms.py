"""The offline-optimised form of a version: made, compared with the plain file, its start measured.

It is onnxruntime's optimised graph with the weights in a file of their own, which is mapped: at a start no
weights are parsed or copied, and nothing is folded. Runs in a process with limits (`sandboxed`).
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from onnxruntime import GraphOptimizationLevel, SessionOptions

from shared.catalog import SessionSpec
from shared.inference.budget import BYTES_A_SECOND
from shared.inference.findings import Compared, ModelRefusedError, Started
from shared.inference.memory import resident_bytes
from shared.inference.running import declared
from shared.inference.runtime_words import reason
from shared.inference.session import (
    LOG_FATAL_ONLY,
    OPTIMIZATION_LEVELS,
    ModelSession,
    open_session,
    session_options,
)
from shared.inference.trial import random_inputs, run_once
from shared.inference.verifying import HashedAhead, verify_files
from shared.repository import (
    FORM_FILE,
    WEIGHTS_FILE,
    ModelEntry,
    read_manifest,
    read_model_spec,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from shared.inference.admission_limits import AdmissionLimits
    from shared.inference.budget import Steps
    from shared.schema.spec import FormOptimization

WEIGHTS_BYTES_MIN: Final = 1024
"""A tensor of fewer bytes stays in the graph."""
SEEDS: Final = 3
"""Random inputs that are compared, each of one row and, where requests may be stacked, of `ROWS`."""
ROWS: Final = 4
PAIRS_MAX: Final = 60
PAIRS_CPU_S: Final = 4.0
_EXTERNAL: Final = "session.optimized_model_external_initializers_"


def make_form(
    folder: Path,
    version: str,
    target: Path,
    limits: AdmissionLimits,
    steps: Steps,
    *,
    only: FormOptimization | None = None,
) -> dict[FormOptimization, Compared]:
    """Write the form of a version of the model in `folder` to `target`, and compare the two.

    By what onnxruntime would still optimise when it loads the form, the fastest start first; `only`: of that
    alone, and without timing runs.
    Raises ModelRefusedError where there is none to be made, or nothing to compare it with.
    """
    model, found = declared(_entry(folder, version), version)
    verify_files(folder / version, found)
    plain_file = folder / version / found.files[0].path
    load_s = limits.load_s + found.size_bytes / BYTES_A_SECOND
    steps("optimising the graph", 3 * load_s)
    write_form(plain_file, model.session, target / FORM_FILE)
    if not (target / WEIGHTS_FILE).is_file():
        raise ModelRefusedError("it has no weights that could lie in a file of their own")
    steps("loading", load_s)
    options = session_options(model.session, threads=1)
    plain = ModelSession(found, open_session(plain_file, options), fed_by_caller=False)
    compared: dict[FormOptimization, Compared] = {}
    for optimization in [only] if only else _candidates(model.session):
        steps("loading its form", load_s)
        options.graph_optimization_level = OPTIMIZATION_LEVELS[optimization]
        form = ModelSession(found, open_session(target / FORM_FILE, options), fed_by_caller=False)
        steps("comparing its form")
        compared[optimization] = _compare(plain, form, run_s=limits.wall_s, timed=only is None)
    return compared


def _entry(folder: Path, version: str) -> ModelEntry:
    """The model as if it served this version alone, whatever it serves."""
    spec = read_model_spec(folder / "model.toml")
    alone = spec.model_copy(update={"default_version": version, "serve": None})
    manifest = read_manifest(folder / version / "manifest.json")
    return ModelEntry(name=folder.name, folder=folder, spec=alone, manifests={version: manifest})


def write_form(plain_file: Path, spec: SessionSpec, target: Path) -> None:
    """Write the optimised graph to `target`, its weights beside it.

    At the level "all" the graph would get layouts of the processor that it is made on, and the functions run on
    others too; these are left to the load. Raises ModelRefusedError where it cannot be written.
    """
    options = SessionOptions()
    level = OPTIMIZATION_LEVELS[spec.optimization]
    if spec.optimization == "all":
        level = GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.graph_optimization_level = level
    options.log_severity_level = LOG_FATAL_ONLY
    options.optimized_model_filepath = str(target)
    options.add_session_config_entry(f"{_EXTERNAL}file_name", WEIGHTS_FILE)
    options.add_session_config_entry(f"{_EXTERNAL}min_size_in_bytes", str(WEIGHTS_BYTES_MIN))
    try:
        open_session(plain_file, options)
    except Exception as error:  # onnxruntime's own exceptions share no base
        raise ModelRefusedError(f"onnxruntime cannot write its form: {reason(error)}") from error


def measure_start(files: Sequence[str], spec: Mapping[str, Any], optimization: str) -> Started:
    """Hash the files and make a session of the first: meant for a fresh process, as a function is one."""
    options = session_options(SessionSpec(**spec), threads=1)
    options.graph_optimization_level = OPTIMIZATION_LEVELS[optimization]
    paths = [Path(file) for file in files]
    before_bytes, began_s = resident_bytes(), time.process_time()
    hashed = HashedAhead(paths)
    for path in paths:
        hashed.sha256_of(path)
    session = open_session(paths[0], options)
    cpu_ms = (time.process_time() - began_s) * 1000
    memory_mib = (resident_bytes() - before_bytes) / (1 << 20)
    del session
    return Started(cpu_ms, memory_mib)


def _candidates(spec: SessionSpec) -> tuple[FormOptimization, ...]:
    return ("disabled", "all") if spec.optimization == "all" else ("disabled",)


def _compare(plain: ModelSession, form: ModelSession, *, run_s: float, timed: bool) -> Compared:
    inputs, symbols = plain.version.graph_inputs, plain.symbols
    rng = np.random.default_rng(0)
    recipe, _, failure = run_once(plain, rng, run_s=run_s)
    if recipe is None:
        raise ModelRefusedError(f"it did not run with random inputs ({failure})")
    several = (1, ROWS) if plain.version.row_independent else (1,)
    equal = True
    for rows in several * SEEDS:
        feeds = random_inputs(inputs, symbols, recipe, rows=rows, rng=rng)
        equal = equal and _same(_run(plain, feeds), _run(form, feeds))
    if not timed:
        return Compared(equal)
    feeds = random_inputs(inputs, symbols, recipe, rows=1, rng=rng)
    return Compared(equal, _run_ratio(plain, form, feeds))


def _run_ratio(plain: ModelSession, form: ModelSession, feeds: dict[str, NDArray[Any]]) -> float:
    """Run in turn, so that a machine that slows down slows both."""
    ratios: list[float] = []
    ends_s = time.process_time() + PAIRS_CPU_S
    while len(ratios) < PAIRS_MAX and (not ratios or time.process_time() < ends_s):
        times = []
        for session in (plain, form):
            began_ns = time.process_time_ns()
            _run(session, feeds)
            times.append(time.process_time_ns() - began_ns)
        ratios.append(times[1] / max(times[0], 1))
    return median(ratios)


def _run(session: ModelSession, feeds: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
    return session.run(feeds, session.output_names, deadline_s=time.monotonic() + 3600)


def _same(plain: Sequence[NDArray[Any]], form: Sequence[NDArray[Any]]) -> bool:
    """Bit for bit; strings by value."""
    return all(
        one.dtype == other.dtype
        and one.shape == other.shape
        and (
            one.tolist() == other.tolist()
            if one.dtype == object
            else one.tobytes() == other.tobytes()
        )
        for one, other in zip(plain, form, strict=True)
    )
