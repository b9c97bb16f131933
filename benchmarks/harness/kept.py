"""Whether the ratios that were recorded are still there: a short run against the newest records.

A ratio is lost when it is past its limit in every one of a few attempts: others on the machine make a run slower by
chance, a change of the code does so each time. The limit is the recorded median with the band of the
measurement on top, or the recorded upper quartile where that is further.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.harness.bars import BARS, Bar, bar_of
from benchmarks.harness.figure import Figure
from benchmarks.harness.report import number
from benchmarks.harness.spread import Spread

ATTEMPTS: Final = 3
BAND: Final = 0.15
"""How far a short run may be above its record, as a share of it, where nothing else is said."""
BANDS: Final[Mapping[str, float]] = {
    # Fresh interpreters, which everything on the machine disturbs.
    "C1": 0.20,
    "C2.fastapi": 0.30,
    "C2.powertools": 0.30,
    "C3": 0.25,
    "C4.session": 0.30,
    "W2": 0.30,
    # Next to nothing, over something large.
    "W4.binary": 0.50,
    # Over the same run of the model: what is above 1 is all that there is to lose.
    "W3": 0.05,
    "C4.run": 0.05,
    "G1.memory.embedding": 0.05,
    "G1.memory.heavy": 0.05,
    # Several processes and a broker on the same cores.
    "G2": 0.25,
    "Q3.celery": 0.25,
    "Q3.dramatiq": 0.25,
    # Counted, not timed.
    "C4.memory": 0.05,
    "C5.x86_64": 0.02,
    "C5.arm64": 0.02,
    "C6": 0.0,
}
OF_THE_MACHINE: Final = ("us", "s")
"""Units of figures that are no ratios: on another machine they are others."""
_HEAD: Final = (
    "| bar | recorded | p25-p75 | limit | now | verdict |\n|---|---:|---:|---:|---:|---|\n"
)

Measure = Callable[[Sequence[str]], Sequence[Figure]]
"""Measures some groups of bars."""


@dataclass(frozen=True)
class Kept:
    """One bar; `now`: the medians of its attempts."""

    bar: Bar
    was: Spread | None
    now: tuple[float, ...]

    @property
    def band(self) -> float:
        """The share of the recorded median that a short run may be off."""
        return BANDS.get(self.bar.key, BAND)

    @property
    def limit(self) -> float | None:
        """What the figure may come to; None: it is not judged."""
        if self.was is None or self.bar.unit in OF_THE_MACHINE:
            return None
        return max(self.was.median * (1 + self.band), self.was.p75)

    @property
    def verdict(self) -> str:
        """`lost` counts; `better` asks for a new record."""
        if self.was is None:
            return "not recorded"
        if self.limit is None:
            return "of this machine"
        if min(self.now) > self.limit:
            return "lost"
        return "better" if min(self.now) < self.was.median * (1 - self.band) else "kept"


def compare(
    groups: Sequence[str],
    records: Mapping[str, Spread],
    measure: Measure,
    *,
    attempts: int = ATTEMPTS,
) -> list[Kept]:
    """Measure, and measure again what seems to be lost; in the order of the bars."""
    medians: dict[str, tuple[float, ...]] = {}
    wanted = list(groups)
    for _ in range(attempts):
        for figure in measure(wanted):
            medians[figure.key] = (*medians.get(figure.key, ()), figure.value.median)
        judged = [
            Kept(bar, records.get(bar.key), medians[bar.key]) for bar in BARS if bar.key in medians
        ]
        wanted = list(dict.fromkeys(bar_of(key).group for key in lost(judged)))
        if not wanted:
            break
    return judged


def lost(judged: Sequence[Kept]) -> list[str]:
    """The keys of what was lost."""
    return [one.bar.key for one in judged if one.verdict == "lost"]


def table(judged: Sequence[Kept]) -> str:
    """For people."""
    return _HEAD + "".join(_row(one) for one in judged)


def _row(one: Kept) -> str:
    was, limit = one.was, one.limit
    cells = [
        one.bar.key,
        f"{number(was.median)} {one.bar.unit}" if was else "-",
        f"{number(was.p25)}-{number(was.p75)}" if was else "-",
        "-" if limit is None else number(limit),
        ", ".join(number(median) for median in one.now),
        f"**{one.verdict}**" if one.verdict == "lost" else one.verdict,
    ]
    return f"| {' | '.join(cells)} |\n"
