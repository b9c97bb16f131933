"""Medians, quartiles and paired ratios: the only statistics the report uses.

A ratio is taken round by round, between two samples taken next to each other, and then summarised.
So a machine that becomes slower half-way through moves both sides of each ratio.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True)
class Spread:
    """`median` with the 25th and 75th percentile of `n` values, all in the unit of the values."""

    median: float
    p25: float
    p75: float
    n: int


def spread(values: Sequence[float]) -> Spread:
    """Summarise at least one value. Raises ValueError on none."""
    if not values:
        raise ValueError("no values to summarise: every round failed or was dropped")
    if len(values) == 1:
        return Spread(median=values[0], p25=values[0], p75=values[0], n=1)
    low, _, high = quantiles(values, n=4, method="inclusive")
    return Spread(median=median(values), p25=low, p75=high, n=len(values))


def paired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """The ratio `ours[i] / theirs[i]` of samples taken in the same round, summarised."""
    return spread([mine / other for mine, other in zip(ours, theirs, strict=True)])


def fastest_ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """The fastest of ours over the fastest of theirs: what a busy machine disturbs least."""
    return spread([min(ours) / min(theirs)])
