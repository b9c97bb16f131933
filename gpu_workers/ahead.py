"""How many deliveries of a queue may wait here: some full stacks, and one more of each kind that waits.

Kinds share a queue, and what is of one kind is seen only by looking past the others: fifty busy models in
three stacks of messages would run a row at a time. A kind is looked past while one run of each of those that
wait ends within seconds; so neither many kinds nor slow ones make a worker keep from others what it cannot
run soon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shared.catalog import Catalog

STACKS_AHEAD: Final = 3
"""Full stacks of each queue that may wait in memory, whatever they are of."""
STACKS_AHEAD_MAX: Final = 256
"""No more messages for that."""
AHEAD_MAX: Final = 1024
"""No more messages with those of the further kinds."""
AHEAD_S: Final = 10.0
"""One run of each kind that is looked past takes no longer: less than a third of a lease, so that what waits
is seldom extended."""


class Kind(NamedTuple):
    """What waits and can run together."""

    jobs: int
    """Of a full stack, as far as is known."""
    run_s: float
    """What a run took lately; 0: it never ran."""


class Ahead:
    """Of one worker. `kinds`: those of a queue that wait, each time that it is asked."""

    def __init__(self, catalog: Catalog, kinds: Callable[[str], Iterable[Kind]]) -> None:
        largest = max((model.max_batch_size for model in catalog.models.values()), default=1)
        self._least = min(STACKS_AHEAD_MAX, STACKS_AHEAD * largest)
        self._kinds = kinds

    def of(self, queue: str) -> int:
        """Deliveries of the queue that may wait now."""
        found = sorted(self._kinds(queue), key=lambda kind: kind.run_s)
        ahead, runs_s = self._least, 0.0
        for kind in found[1:]:  # one of them is what the least is for
            runs_s += kind.run_s
            if runs_s > AHEAD_S or ahead >= AHEAD_MAX:
                break
            ahead += kind.jobs
        return min(max(AHEAD_MAX, self._least), ahead)
