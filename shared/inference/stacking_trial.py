"""Runs a model in batches of random rows: may requests to it be stacked.

They may when a row's answer does not depend on the rows beside it, up to rounding: each of several batches
is run whole and row by row, and the answers are compared.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from shared.errors import LanewayError
from shared.inference.budget import untimed
from shared.inference.findings import Trial
from shared.inference.finite import FLOATS
from shared.inference.trial import MEASURE_S, random_inputs, run_once, run_trial, why

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from onnxruntime import InferenceSession

    from shared.catalog import TensorSpec
    from shared.inference.budget import Steps
    from shared.inference.session import ModelSession
    from shared.inference.trial import Recipe

    Feeds = dict[str, NDArray[Any]]

TOLERANCE_MAX: Final = 1e-4
"""Past this relative difference a model is not stacked."""
BATCHES: Final = (2, 3, 8, 32)
TIMED_RUNS: Final = 3
RUNS_A_ROW: Final = 2
"""Stacked and alone."""
ROWS_BESIDE: Final = 2
"""Whose time is kept back: what comes after the batches."""
BATCH_CPU_ROWS: Final = 8
"""CPU time of a batch that is run stacked and row by row: so many times that of its rows, and that of any run."""


def try_model(
    served: ModelSession,
    session: InferenceSession,
    *,
    seed: int = 0,
    run_s: float | None = None,
    run_cpu_s: float = 0.0,
    steps: Steps = untimed,
) -> Trial:
    """Run the model and measure whether its rows are independent.

    `run_s`: see `run_once`. `steps`: told before each batch; one for which not enough time is left is not
    run. `run_cpu_s`: what any run may take.
    Raises ModelRefusedError for a model that cannot answer one row here.
    """
    rng = np.random.default_rng(seed)
    symbols = {item.name: tuple(item.shape) for item in session.get_inputs()}
    inputs = served.version.graph_inputs
    began_s = time.process_time()
    recipe, results, failure = run_once(served, rng, run_s=run_s)
    row_s = time.process_time() - began_s
    steps("measuring")
    if recipe is None:
        return Trial(
            ran=False,
            run_ms=None,
            row_independent=False,
            tolerance=None,
            reason=f"it did not run with random inputs ({failure}); give golden inputs that it takes",
        )
    tolerance, reason = None, _no_batch(inputs)
    if not reason:
        tolerance, reason = _measure(
            served,
            symbols,
            recipe,
            rng,
            row_s=row_s,
            begin=lambda rows: steps(
                f"running {rows} rows", run_cpu_s + BATCH_CPU_ROWS * rows * row_s
            ),
        )
    run_ms = row_s * 1000
    if steps("measuring") > TIMED_RUNS * row_s:
        run_ms = _time_ms(served, random_inputs(inputs, symbols, recipe, rows=1, rng=rng))
    return Trial(
        ran=True,
        run_ms=run_ms,
        row_independent=not reason,
        tolerance=tolerance,
        reason=reason,
        output_ranks={
            name: array.ndim for name, array in zip(served.output_names, results, strict=True)
        },
    )


def _no_batch(inputs: tuple[TensorSpec, ...]) -> str:
    """Why requests cannot be put behind each other, or ""."""
    fixed = next((spec for spec in inputs if not spec.shape or spec.shape[0] >= 0), None)
    if fixed is None:
        return ""
    return (
        f"input {fixed.name!r} has no open first dimension, shape {list(fixed.shape)}, so "
        "requests cannot be put behind each other; export it with a dynamic batch dimension"
    )


def _measure(
    served: ModelSession,
    symbols: dict[str, tuple[Any, ...]],
    recipe: Recipe,
    rng: np.random.Generator,
    *,
    row_s: float,
    begin: Callable[[int], float],
) -> tuple[float | None, str]:
    """The largest relative difference over all batches, and why the model is not stacked or "".

    `begin`: told of each batch's rows before it is run; the CPU time that is left. `row_s`: of one row.
    """
    worst = 0.0
    ends_s = time.monotonic() + MEASURE_S
    for rows in BATCHES:
        feeds = random_inputs(served.version.graph_inputs, symbols, recipe, rows=rows, rng=rng)
        if begin(rows) < RUNS_A_ROW * (rows + ROWS_BESIDE) * row_s:
            if rows > BATCHES[0]:
                break
            return None, (
                f"a row takes {row_s:.2g} s of CPU time, too long to measure it in a batch too; raise run_s "
                "in [<pool>.admission] of pools.toml to have that measured"
            )
        try:
            stacked = run_trial(served, feeds)
            alone = [
                run_trial(served, {name: array[row : row + 1] for name, array in feeds.items()})
                for row in range(rows)
            ]
        except LanewayError as error:
            return None, f"a batch of {rows} rows did not run ({why(error)})"
        for index, spec in enumerate(served.version.graph_outputs):
            if not stacked[index].ndim or stacked[index].shape[0] != rows:
                return None, (
                    f"output {spec.name!r} has shape {list(stacked[index].shape)} for {rows} rows, "
                    "so its rows cannot be given back to their requests"
                )
            for row in range(rows):
                found = difference(stacked[index][row : row + 1], alone[row][index], spec.datatype)
                worst = max(worst, found)
        if worst > TOLERANCE_MAX:
            return worst, (
                f"a row run in a batch of {rows} differs from the same row run alone by "
                f"{worst:.2g} relative, more than {TOLERANCE_MAX:.0e}"
            )
        if time.monotonic() > ends_s:
            break
    return worst, ""


def difference(stacked: NDArray[Any], alone: NDArray[Any], datatype: str) -> float:
    """Largest difference of two rows, any equal shape, relative to the largest value of `alone`.

    1.0 for rows of another shape, and for anything but equal values of other than floats.
    """
    if stacked.shape != alone.shape:
        return 1.0
    if datatype == "BF16":
        stacked, alone = _widened(stacked), _widened(alone)
    elif datatype not in FLOATS:
        return 0.0 if np.array_equal(stacked, alone) else 1.0
    left, right = stacked.astype(np.float64), alone.astype(np.float64)
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    if same.all():
        return 0.0
    if not np.isfinite(left[~same]).all() or not np.isfinite(right[~same]).all():
        return 1.0
    scale = float(np.abs(right[np.isfinite(right)]).max(initial=0.0))
    return min(1.0, float(np.abs(left[~same] - right[~same]).max()) / max(scale, 1e-12))


def _widened(bits: NDArray[Any]) -> NDArray[Any]:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _time_ms(served: ModelSession, feeds: Feeds) -> float:
    times_s = []
    for _ in range(TIMED_RUNS):
        started_s = time.perf_counter()
        run_trial(served, feeds)
        times_s.append(time.perf_counter() - started_s)
    return min(times_s) * 1000
