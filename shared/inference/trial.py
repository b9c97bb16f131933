"""Runs a model with random inputs: which ones does it take, and does it run at all."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from shared.errors import DeadlineExceededError, LanewayError, ModelLimitError
from shared.inference.datatypes import ARRAY_TYPES
from shared.inference.findings import ModelRefusedError
from shared.inference.finite import FLOATS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from shared.catalog import TensorSpec
    from shared.inference.session import ModelSession

    Feeds = dict[str, NDArray[Any]]

OPEN_SIZES: Final = (8, 224, 32, 128, 1, 3)
"""Tried in turn for dimensions that a model leaves open, besides the batch."""
INTEGERS_BELOW: Final = (100, 2, 1)
"""Tried in turn: token ids may be large, flags and types may not."""
RUN_S: Final = 20.0
MEASURE_S: Final = 60.0
"""Larger batches are left out once measuring has taken this long."""


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


def run_trial(served: ModelSession, feeds: Feeds, run_s: float | None = None) -> list[NDArray[Any]]:
    """Every output of one run, in the model's order."""
    return served.run(feeds, served.output_names, deadline_s=time.monotonic() + (run_s or RUN_S))
