"""Runs a model with random inputs of unlike lengths: is a row that was padded still its own answer.

Each of several stacks is padded and run as the lanes do it, and every request of it is run alone.
"""

from __future__ import annotations

import time
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from shared.errors import LanewayError
from shared.inference.budget import untimed
from shared.inference.datatypes import ARRAY_TYPES
from shared.inference.findings import PaddingTrial
from shared.inference.finite import FLOATS
from shared.inference.stacking_trial import TOLERANCE_MAX, difference
from shared.inference.trial import (
    MEASURE_S,
    find_recipe,
    random_inputs,
    run_trial,
    why,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from shared.catalog import TensorSpec
    from shared.inference.budget import Steps
    from shared.inference.padding import Padding
    from shared.inference.session import ModelSession
    from shared.inference.trial import Recipe

    Feeds = dict[str, NDArray[Any]]

MEASURING: Final = "measuring what padding does"
TOO_LONG: Final = (
    "a row takes too long to measure it padded too; raise run_s in [<pool>.admission] of pools.toml to have "
    "that measured"
)
ROWS_BEFORE: Final = 12
"""Whose time is taken by finding lengths that run; some are of twice the length."""
STACKS: Final = (2, 3, 8, 16)
"""Requests that run together."""


def try_padding(
    served: ModelSession, padding: Padding, *, seed: int = 0, steps: Steps = untimed
) -> PaddingTrial:
    """Measure what the fillers of `served.version.pad` do to answers; never raises for what it finds.

    `steps`: says how much CPU time is left; a stack for which that is not enough is not run.
    """
    rng = np.random.default_rng(seed)
    began_s = time.process_time()
    recipe, failure = _recipe(served, rng)
    if recipe is None:
        return PaddingTrial(None, f"it did not run with random inputs ({failure})")
    if steps(MEASURING) < ROWS_BEFORE * (time.process_time() - began_s):
        return PaddingTrial(None, TOO_LONG)
    sampler = _Sampler(served, padding, recipe, rng)
    lengths = [length for length in _lengths(recipe.open_size) if sampler.runs(length)]
    if len(lengths) < 2:  # noqa: PLR2004  two requests that differ
        return PaddingTrial(None, f"it ran with one length only, {lengths or recipe.open_size}")
    tried_s = time.process_time() - began_s
    return _of_stacks(sampler, lengths, lambda count: steps(MEASURING) >= count * tried_s)


def _recipe(served: ModelSession, rng: np.random.Generator) -> tuple[Recipe | None, str]:
    """With which one row runs, or why none does."""
    try:
        recipe, _, failure = find_recipe(served, served.symbols, rng)
    except LanewayError as error:
        return None, why(error)
    return recipe, failure


def _of_stacks(
    sampler: _Sampler, lengths: Sequence[int], fits: Callable[[int], bool]
) -> PaddingTrial:
    """`fits`: whether there is time for a stack of so many requests."""
    worst = 0.0
    ends_s = time.monotonic() + MEASURE_S
    for count in STACKS:
        if not fits(count):
            return PaddingTrial(worst, "") if count > STACKS[0] else PaddingTrial(None, TOO_LONG)
        requests = [sampler.request(lengths, place) for place in range(count)]
        try:
            worst = max(worst, _differ(sampler.served, sampler.padding, requests))
        except LanewayError as error:
            return PaddingTrial(None, f"{count} padded requests did not run ({why(error)})")
        if worst > TOLERANCE_MAX:
            return PaddingTrial(
                worst,
                f"a row that is padded in a stack of {count} requests differs from the same row run "
                f"alone by {worst:.2g} relative, more than {TOLERANCE_MAX:.0e}",
            )
        if time.monotonic() > ends_s:
            break
    return PaddingTrial(worst, "")


def _lengths(open_size: int) -> list[int]:
    """The length that runs, and others around it."""
    around = (open_size, open_size // 2, open_size * 2, open_size - 1, open_size // 4)
    return [length for length in dict.fromkeys(around) if length > 0]


class _Sampler:
    """Random requests whose padded dimensions have the lengths asked for."""

    def __init__(
        self, served: ModelSession, padding: Padding, recipe: Recipe, rng: np.random.Generator
    ) -> None:
        self.served = served
        self.padding = padding
        self._recipe = recipe
        self._rng = rng

    def runs(self, length: int) -> bool:
        """Whether the model takes requests of this length."""
        try:
            run_trial(self.served, self.request([length], 0))
        except LanewayError:
            return False
        return True

    def request(self, lengths: Sequence[int], place: int) -> Feeds:
        """The request at this place of a stack: one row or two, each dimension of another length."""
        version = self.served.version
        sizes = [lengths[(place + axis) % len(lengths)] for axis in range(self.padding.count)]
        feeds = random_inputs(
            self.padding.resized(version.graph_inputs, sizes),
            self.served.symbols,
            self._recipe,
            rows=1 + place % 2,
            rng=self._rng,
        )
        for spec in version.graph_inputs:
            if spec.name in version.pad:
                _avoid(feeds[spec.name], version.pad[spec.name], spec, self._recipe)
        return feeds


def _avoid(array: NDArray[Any], filler: float, spec: TensorSpec, recipe: Recipe) -> None:
    """Take the filler's value out of a request's own part: there it would say that nothing is there."""
    if spec.datatype in FLOATS or recipe.integers_below < 2:  # noqa: PLR2004  no other value
        return
    below = 2 if spec.datatype == "BOOL" else recipe.integers_below
    array[array == filler] = np.asarray((filler + 1) % below, ARRAY_TYPES[spec.datatype].dtype)


def _differ(served: ModelSession, padding: Padding, requests: Sequence[Feeds]) -> float:
    """The largest difference between these requests' answers padded together and alone."""
    feeds, sizes = padding.join(requests)
    outputs = run_trial(served, feeds)
    for name, output in zip(served.output_names, outputs, strict=True):
        padding.check(name, output, sizes)
    rows = [len(next(iter(request.values()))) for request in requests]
    bounds = pairwise(accumulate(rows, initial=0))
    return max(
        found
        for request, own, (start, end) in zip(requests, sizes, bounds, strict=True)
        for found in _differences(
            served,
            [
                padding.cut(name, output[start:end], own)
                for name, output in zip(served.output_names, outputs, strict=True)
            ],
            run_trial(served, request),
        )
    )


def _differences(
    served: ModelSession, padded: Sequence[NDArray[Any]], alone: Sequence[NDArray[Any]]
) -> Iterator[float]:
    """Row by row, as a small row's error is not to hide behind a large one's values."""
    for spec, left, right in zip(served.version.graph_outputs, padded, alone, strict=True):
        if left.shape != right.shape:
            yield 1.0
        for row in range(min(len(left), len(right))):
            yield difference(left[row], right[row], spec.datatype)
