"""Jobs that are ready to run, put together into stacks while the device is busy.

A stack is of one model, version and signature. It runs when it is full, or when its oldest job has
waited `max_delay_ms`; which one is next, the rota says. A stack with room left takes what fits of
the same kind from other queues, where they wait as well. How many rows are a full stack, `sizes` says.
A full stack that is all there is runs in two halves where that costs little: the first is published,
and others are received, while the second runs.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from threading import Condition
from typing import TYPE_CHECKING

from gpu_workers.sizes import Sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from gpu_workers.hand import Held
    from gpu_workers.rota import Rota
    from shared.inference.pipeline import Prepared, ServedModel
    from shared.jobs.columns import Ways


@dataclass(slots=True, eq=False)
class Ready:
    """A job whose tensors wait for the device, or a chunk of a batch."""

    held: Held
    prepared: Prepared | None = None
    """None: a chunk, which prepares its lines itself."""
    served: ServedModel | None = None
    ways: Ways | None = None
    key: Hashable | None = None
    """What jobs of one stack have in common; None: it runs alone."""
    rows: int = 1
    rows_max: int = 1
    cells: int = 1
    """Of a row: what a run's time grows with, where rows of one kind differ in length."""
    delay_s: float = 0.0
    since_s: float = field(default_factory=time.monotonic)


Stack = list[Ready]
_Groups = dict["Hashable", deque[Ready]]


class Backlog:
    """What is ready, by queue and kind. `add` from any thread, `next` from the device's."""

    def __init__(
        self,
        rota: Rota,
        *,
        sizes: Sizes | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rota = rota
        self._clock = clock
        self._sizes = sizes or Sizes()
        self._groups: dict[str, _Groups] = {queue: {} for queue in rota.queues}
        self._changed = Condition()

    def add(self, items: Iterable[Ready]) -> None:
        """These may run."""
        with self._changed:
            last: Ready | None = None
            group: deque[Ready] = deque()
            for item in items:
                if last is None or item.key is not last.key or item.key is None:
                    key = item if item.key is None else item.key
                    group = self._groups[item.held.queue].setdefault(key, deque())
                elif item.held.queue != last.held.queue:
                    group = self._groups[item.held.queue].setdefault(item.key, deque())
                group.append(item)
                last = item
            self._changed.notify_all()

    def next(self, timeout_s: float) -> Stack:
        """The next stack, as soon as one is due; empty after `timeout_s`, or when it is woken."""
        with self._changed:
            stack = self._choose()
            if not stack:
                self._changed.wait(min(timeout_s, self._due_in_s(timeout_s)))
                stack = self._choose()
            return stack

    def take_all(self) -> Stack:
        """Everything that waits, which is not going to run."""
        with self._changed:
            items = [
                item
                for groups in self._groups.values()
                for group in groups.values()
                for item in group
            ]
            for groups in self._groups.values():
                groups.clear()
            return items

    def holds(self, *, above: str | None = None) -> bool:
        """Whether anything waits; `above`: on a queue that is taken before this one."""
        queues = self._rota.queues
        with self._changed:
            return any(
                self._groups[name] for name in queues[: queues.index(above) if above else None]
            )

    def kinds(self, queue: str) -> list[tuple[Ready, int]]:
        """Of each kind that waits on the queue and is stacked, the first job, and how many such are a full stack."""
        with self._changed:
            firsts = [
                group[0] for group in self._groups[queue].values() if group[0].key is not None
            ]
            return [
                (first, max(1, self._sizes.rows_max(first.key, first.rows_max) // first.rows))
                for first in firsts
            ]

    def wake(self) -> None:
        """End the wait of `next`."""
        with self._changed:
            self._changed.notify_all()

    def _choose(self) -> Stack:
        now_s = self._clock()
        due = {name: self._due(groups, now_s) for name, groups in self._groups.items()}
        queue = self._rota.choose({name for name, key in due.items() if key is not None})
        if queue is None:
            return []
        key = due[queue]
        rows_max = self._rows_max(key, self._groups[queue][key][0])
        stack: Stack = []
        rows = 0
        for name in (queue, *(other for other in self._rota.queues if other != queue)):
            rows = self._fill(stack, name, key, rows, rows_max)
        return stack

    def _rows_max(self, key: Hashable, first: Ready) -> int:
        """Of the next run of this kind."""
        rows_max = self._sizes.rows_max(key, first.rows_max)
        if not self._sizes.may_halve(key, rows_max):
            return rows_max
        waiting = [group for groups in self._groups.values() for group in groups.values()]
        is_all = len(waiting) == 1 and sum(item.rows for item in waiting[0]) == rows_max
        return rows_max // 2 if is_all else rows_max

    def _fill(self, stack: Stack, queue: str, key: Hashable, rows: int, rows_max: int) -> int:
        group = self._groups[queue].get(key)
        while group and (not stack or rows + group[0].rows <= rows_max):
            item = group.popleft()
            stack.append(item)
            rows += item.rows
        if group is not None and not group:
            del self._groups[queue][key]
        return rows

    def _due(self, groups: _Groups, now_s: float) -> Hashable | None:
        """The kind of which a stack is full or has waited long enough: the oldest of those."""
        found = [
            (group[0].since_s, number, key)
            for number, (key, group) in enumerate(groups.items())
            if self._is_full(key, group) or group[0].since_s + group[0].delay_s <= now_s
        ]
        return min(found)[2] if found else None

    def _is_full(self, key: Hashable, group: Sequence[Ready]) -> bool:
        rows, rows_max = 0, self._sizes.rows_max(key, group[0].rows_max)
        for item in group:
            rows += item.rows
            if rows >= rows_max:
                return True
        return False

    def _due_in_s(self, default_s: float) -> float:
        """Until the next stack is due without being full."""
        at_s = [
            group[0].since_s + group[0].delay_s
            for groups in self._groups.values()
            for group in groups.values()
        ]
        return max(0.0, min(at_s) - self._clock()) if at_s else default_s
