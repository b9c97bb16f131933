"""How many rows a run should take: learned from runs, by what a row costs in stacks of several sizes.

A stack as large as the model allows is best on a device with room for it. On a busy one a row may cost
more in it than in a smaller one, and then smaller ones run. Full stacks are tried in turn, from the
largest, each half of the one before, until they get dearer, and again after many runs.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable

TRIALS: Final = 3
"""Runs of each size; the quickest counts, as others may use the machine meanwhile."""
GAIN: Final = 0.97
"""A smaller size is better when a row costs no more than this share."""
LITTLE_MORE: Final = 1.10
"""So much dearer a row may be in half a stack where that lets the device work on while others wait."""
NEARLY: Final = 0.85
"""A stack with so many of the rows is full: requests of several rows seldom fill one to the last."""
GIVE_UP_RUNS: Final = 100
"""After so many no smaller sizes are tried: they are not filled."""
TRY_AGAIN_RUNS: Final = 1000
KINDS_KEPT: Final = 256


@dataclass(slots=True)
class _Known:
    """Of one kind of stack. `costs`: seconds for a cell by rows, of the sizes that were tried."""

    trying: int
    """Rows; 0: every size worth it was tried."""
    best: int
    costs: dict[int, float] = field(default_factory=dict)
    tried: int = 0
    runs: int = 0


class Sizes:
    """For each kind of stack (`backlog.Ready.key`) the rows of a run. One thread notes, any may read."""

    def __init__(self) -> None:
        self._kinds: OrderedDict[Hashable, _Known] = OrderedDict()

    def rows_max(self, kind: Hashable, most: int) -> int:
        """Rows that the next run takes at most. `most`: what the model allows."""
        known = self._kinds.get(kind)
        return most if known is None else known.trying or known.best

    def may_halve(self, kind: Hashable, rows: int) -> bool:
        """Whether a row in half of so many costs little more, as far as is known."""
        known = self._kinds.get(kind)
        if known is None or known.trying or rows != known.best:
            return False
        half = known.costs.get(rows // 2, math.inf)
        return half <= known.costs[rows] * LITTLE_MORE

    def note(self, kind: Hashable, *, rows: int, cells: int, took_s: float, most: int) -> None:
        """A run ended well. `cells`: what its time grows with, such as rows times their length."""
        known = self._kinds.get(kind)
        if known is None:
            known = self._kinds[kind] = _Known(most, most)
            if len(self._kinds) > KINDS_KEPT:
                self._kinds.popitem(last=False)
        known.runs += 1
        if known.trying * NEARLY <= rows <= known.trying:
            self._try(known, took_s / cells)
        elif 0 < known.trying < most and known.runs >= GIVE_UP_RUNS:
            known.trying = 0
        elif known.runs >= TRY_AGAIN_RUNS:
            self._kinds[kind] = _Known(most, most)

    def _try(self, known: _Known, cost_s: float) -> None:
        """`cost_s`: of a cell, in a stack of the size that is tried."""
        rows = known.trying
        known.costs[rows] = min(known.costs.get(rows, math.inf), cost_s)
        known.tried += 1
        if known.tried < TRIALS:
            return
        best_s = known.costs[known.best]
        if known.costs[rows] <= best_s * GAIN:
            known.best = rows
        is_dear = known.costs[rows] > best_s * LITTLE_MORE
        known.trying = 0 if is_dear else rows // 2
        known.tried = 0
