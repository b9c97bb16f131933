"""Whose turn it is: the order of queues, and the runs that are kept for the lower ones.

Queues are taken in order, and each lower one has one turn of its own in ten: whatever the upper ones
hold, a queue in which something waits is served at least once in any ten runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

CYCLE: Final = 10


class Rota:
    """Turns of runs. `queues`: in the order in which they are taken, ten at most."""

    def __init__(self, queues: Sequence[str]) -> None:
        if not 0 < len(queues) <= CYCLE:
            raise ValueError(f"a rota has 1 to {CYCLE} queues, not {len(queues)}")
        self.queues = tuple(queues)
        self._kept = {
            place * CYCLE // len(queues): queue for place, queue in enumerate(queues) if place
        }
        self._turn = 0

    def choose(self, waiting: Container[str]) -> str | None:
        """The queue of the next run, of those in `waiting`; None where none of them waits."""
        kept = self._kept.get(self._turn)
        if kept is None or kept not in waiting:
            kept = next((queue for queue in self.queues if queue in waiting), None)
        if kept is not None:
            self._turn = (self._turn + 1) % CYCLE
        return kept
