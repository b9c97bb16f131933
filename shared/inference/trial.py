"""Runs a model with random inputs: does it run at all, and may requests to it be stacked.

Stacking is allowed when a row's answer does not depend on the rows beside it, up to rounding:
each of several batches is run whole and row by row, and the answers are compared.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from shared.errors import DeadlineExceededError, LanewayError, ModelLimitError
from shared.inference.budget import untimed
from shared.inference.datatypes import ARRAY_TYPES
from shared.inference.findings import ModelRefusedError, Trial
from shared.inference.finite import FLOATS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from onnxruntime import InferenceSession

    from shared.catalog import TensorSpec
    from shared.inference.budget import Steps
    from shared.inference.session import ModelSession

    Feeds = dict[str, NDArray[Any]]

TOLERANCE_MAX: Final = 1e-4
"""Past this relative difference a model is not stacked."""
BATCHES: Final = (2, 3, 8, 32)
OPEN_SIZES: Final = (8, 224, 32, 128, 1, 3)
"""Tried in turn for dimensions that a model leaves open, besides the batch."""
INTEGERS_BELOW: Final = (100, 2, 1)
"""Tried in turn: token ids may be large, flags and types may not."""
RUN_S: Final = 20.0
MEASURE_S: Final = 60.0
"""Larger batches are left out once measuring has taken this long."""
TIMED_RUNS: Final = 3
RUNS_A_ROW: Final = 2
"""Stacked and alone."""
ROWS_BESIDE: Final = 2
"""Whose time is kept back: what comes after the batches."""
BATCH_CPU_ROWS: Final = 8
"""CPU time of a batch that is run stacked and row by row: so many times that of its rows, and that of any run."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How random inputs that the model accepts are made."""

    open_size: int
    integers_below: int


def run_once(
    served: ModelSession, rng: np.random.Generator, *, run_s: float | None = None
) -> tuple[Recipe | None, list[NDArray[Any]], str]:
    """One row through the model, with inputs that it takes: see `find_recipe`.

    `run_s`: by the clock; None: `RUN_S`. Longer where CPU time is watched by others.
    Raises ModelRefusedError where that took more memory or time than there is.
    """
    try:
        return find_recipe(served, served.symbols, rng, run_s=run_s)
    except (ModelLimitError, DeadlineExceededError) as error:
        raise ModelRefusedError(
            f"one row of random inputs cannot be answered here: {error.message}"
        ) from error


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


def random_inputs(
    inputs: tuple[TensorSpec, ...],
    symbols: dict[str, tuple[Any, ...]],
    recipe: Recipe,
    *,
    rows: int,
    rng: np.random.Generator,
) -> Feeds:
    """Random tensors by input name; an open first dimension has `rows`, others the recipe's size."""
    batch = {symbols[spec.name][0] for spec in inputs if spec.shape and spec.shape[0] < 0}
    feeds = {}
    for spec in inputs:
        shape = [
            size if size >= 0 else _open_size(axis, symbols[spec.name][axis], batch, rows, recipe)
            for axis, size in enumerate(spec.shape)
        ]
        feeds[spec.name] = _random(spec.datatype, shape, recipe, rng)
    return feeds


def _open_size(axis: int, symbol: Any, batch: set[Any], rows: int, recipe: Recipe) -> int:
    named_like_batch = symbol is not None and symbol in batch
    return rows if axis == 0 or named_like_batch else recipe.open_size


def _random(
    datatype: str, shape: list[int], recipe: Recipe, rng: np.random.Generator
) -> NDArray[Any]:
    dtype = ARRAY_TYPES[datatype].dtype
    if datatype == "BF16":
        return (rng.standard_normal(shape, np.float32).view(np.uint32) >> 16).astype(np.uint16)
    if datatype in FLOATS:
        return np.asarray(rng.standard_normal(shape), dtype)
    if datatype == "BYTES":
        words = np.asarray(rng.integers(0, recipe.integers_below, shape))
        return np.vectorize(str, otypes=[object])(words) if words.size else words.astype(object)
    if datatype == "BOOL":
        return np.asarray(rng.integers(0, 2, shape), dtype)
    return np.asarray(rng.integers(0, recipe.integers_below, shape), dtype)


def find_recipe(
    served: ModelSession,
    symbols: dict[str, tuple[Any, ...]],
    rng: np.random.Generator,
    *,
    run_s: float | None = None,
) -> tuple[Recipe | None, list[NDArray[Any]], str]:
    """The first recipe with which one row runs, its results, and the first failure otherwise.

    Raises ModelLimitError or DeadlineExceededError where none runs and that is why.
    """
    failure, limit = "", None
    ends_s = time.monotonic() + MEASURE_S
    for recipe in _recipes(served.version.graph_inputs):
        feeds = random_inputs(served.version.graph_inputs, symbols, recipe, rows=1, rng=rng)
        try:
            return recipe, run_trial(served, feeds, run_s), ""
        except (ModelLimitError, DeadlineExceededError) as error:
            limit = limit or error
        except LanewayError as error:
            failure = failure or why(error)
        if time.monotonic() > ends_s:
            break
    if limit is not None:
        raise limit
    return None, [], failure


def why(error: LanewayError) -> str:
    """The failure in onnxruntime's own words where there are any: here its reader is the model's owner."""
    return getattr(error, "detail", None) or error.message


def _recipes(inputs: tuple[TensorSpec, ...]) -> Iterator[Recipe]:
    """Only what makes a difference to these inputs is varied."""
    opens = any(size < 0 for spec in inputs for size in spec.shape[1:])
    counts = any(spec.datatype not in FLOATS and spec.datatype != "BOOL" for spec in inputs)
    for open_size in OPEN_SIZES if opens else OPEN_SIZES[:1]:
        for below in INTEGERS_BELOW if counts else INTEGERS_BELOW[:1]:
            yield Recipe(open_size, below)


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


def run_trial(served: ModelSession, feeds: Feeds, run_s: float | None = None) -> list[NDArray[Any]]:
    """Every output of one run, in the model's order."""
    return served.run(feeds, served.output_names, deadline_s=time.monotonic() + (run_s or RUN_S))


def _time_ms(served: ModelSession, feeds: Feeds) -> float:
    times_s = []
    for _ in range(TIMED_RUNS):
        started_s = time.perf_counter()
        run_trial(served, feeds)
        times_s.append(time.perf_counter() - started_s)
    return min(times_s) * 1000
