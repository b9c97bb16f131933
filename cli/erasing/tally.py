"""What one erasing has removed, and until when something that it stopped may go on writing."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

from shared.limits import JOB_TTL_S_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_T = TypeVar("_T")

MESSAGE_S: Final = JOB_TTL_S_MAX + 24 * 3600
"""How long a message may lie on a queue of ours; stacks.parts.queue.RETENTION_S is the same, by a test."""


class Tally:
    """`told` hears of each thing that was removed, by its kind."""

    def __init__(self, told: Callable[[str, int], None]) -> None:
        self._told = told
        self.removed: Counter[str] = Counter()
        self.busy_until = 0.0
        """Epoch seconds: the last lease of what was stopped; 0: nothing ran."""

    def count(self, kind: str, count: int = 1) -> None:
        """So many things of a kind were removed."""
        if count:
            self.removed[kind] += count
            self._told(kind, count)

    def wait_for(self, lease_until: float) -> None:
        """Somebody may be at work until then."""
        self.busy_until = max(self.busy_until, lease_until)


def in_parts(values: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """The values, `size` at a time, as calls take them."""
    left = iter(values)
    while part := list(islice(left, size)):
        yield part
