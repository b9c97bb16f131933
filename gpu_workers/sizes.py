"""How many rows a run should take: learned from runs, by what a row costs in stacks of several sizes.

A stack as large as the model allows is best on a device with room for it. On a busy one a row may cost
more in it than in a smaller one, and then smaller ones run. Full stacks are tried in rounds, each from
the largest, each half of the one before, until they get dearer, so that what else the machine does for a while
makes no size dear; and again after many runs.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

TRIALS: Final = 5
"""Rounds, of one run of each size; the quickest counts, as others may use the machine meanwhile."""
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
    rounds: int = 0
    """In which every size was tried once."""
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
            self._try(known, took_s / cells, most)
        elif known.trying and known.costs and known.runs >= GIVE_UP_RUNS:
            known.trying = 0
        elif known.runs >= TRY_AGAIN_RUNS:
            self._kinds[kind] = _Known(most, most)

    def _try(self, known: _Known, cost_s: float, most: int) -> None:
        """`cost_s`: of a cell, in a stack of the size that is tried."""
        rows, costs = known.trying, known.costs
        costs[rows] = min(costs.get(rows, math.inf), cost_s)
        known.best = _best(costs)
        if rows > 1 and costs[rows] <= costs[known.best] * LITTLE_MORE:
            known.trying = rows // 2
            return
        known.rounds += 1
        known.trying = most if known.rounds < TRIALS else 0


def _best(costs: Mapping[int, float]) -> int:
    """The largest size than which no smaller one is cheaper by much."""
    best, *smaller = sorted(costs, reverse=True)
    for rows in smaller:
        if costs[rows] <= costs[best] * GAIN:
            best = rows
    return best
