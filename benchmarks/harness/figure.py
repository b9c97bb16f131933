"""A measured figure: the value that a bar judges, what it was made of, and how far to trust it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.harness.bars import Bar, bar_of
from benchmarks.harness.children import Patience, Sample
from benchmarks.harness.spread import Spread

_NOISY_SHARE = 1 / 3


@dataclass(frozen=True)
class Effort:
    """How much to measure: `rounds` of fresh interpreters, `block_s` seconds per block of calls."""

    rounds: int
    blocks: int
    block_s: float
    patience: Patience


@dataclass(frozen=True)
class Figure:
    """One row of the report. `value` is in the bar's unit; `parts` in the unit that each name ends in."""

    key: str
    value: Spread
    parts: Mapping[str, Spread] = field(default_factory=dict)
    noisy: bool = False
    note: str = ""

    @property
    def bar(self) -> Bar:
        """The bar that judges this figure."""
        return bar_of(self.key)

    @property
    def verdict(self) -> str:
        """`stretch`, `met` or `missed`, by the median."""
        if self.bar.stretch is not None and self.value.median <= self.bar.stretch:
            return "stretch"
        return "met" if self.value.median <= self.bar.must else "missed"


@dataclass(frozen=True)
class Skipped:
    """A figure that could not be taken here, and why."""

    key: str
    reason: str


def noisy(samples: Sequence[Sample]) -> bool:
    """More than a third of the samples were taken while others used the machine."""
    return sum(sample.noisy for sample in samples) > _NOISY_SHARE * len(samples)
