"""What the worker has in hand: every message that it received and has not told the end of."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from threading import Condition
from typing import TYPE_CHECKING

from shared.limits import DECODED_BODY_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gpu_workers.fairness import Crowd
    from shared.inference.pipeline import ServedModel
    from shared.inference.sessions import Lease
    from shared.jobs.work import Work
    from shared.queues.protocol import Delivery


@dataclass(slots=True, eq=False)
class Held:
    """One delivery in hand, with the job that it named once that is ours."""

    queue: str
    delivery: Delivery
    beat_s: float
    """When its message and its lease are extended next, on the monotonic clock."""
    work: Work | None = None
    """The claimed job; None: not claimed, or handed back."""
    entered: Crowd | None = None
    """Its place in its tenant's share; given back when it begins to run."""
    until: float = 0.0
    """Epoch seconds: when the row's lease lapses."""
    model: Lease[ServedModel] | None = None
    """Keeps the model loaded; given back with the delivery."""
    size_bytes: int = 0
    """Of its input, while that is in memory."""
    claiming: bool = False
    """Its job is being claimed, or is about to be."""
    placed: bool = False
    """Somebody else sees to it: the backlog, the loader, or those who run again."""
    started: bool = False
    """It runs or has run: it is waited for no more."""
    ending: bool = False
    """Its end is being written: the lease is not extended any more."""
    lost: bool = False
    """Another owner has the job, or it was canceled: nothing of it is published."""


class Hand:
    """All of it, counted: by queue, for how much more to receive, and in bytes."""

    def __init__(
        self, *, bytes_max: int, leave: Callable[[Crowd], None] = lambda _crowd: None
    ) -> None:
        self._bytes_max = bytes_max
        self._leave = leave
        self._held: dict[Held, None] = {}
        self._waiting: Counter[str] = Counter()
        """By queue, of those that have not begun to run."""
        self._bytes = 0
        self._changed = Condition()

    def __len__(self) -> int:
        return len(self._held)

    def take(self, held: Iterable[Held]) -> None:
        """These are in hand now."""
        with self._changed:
            for item in held:
                self._held[item] = None
                self._waiting[item.queue] += 1

    def drop(self, held: Iterable[Held]) -> None:
        """These are not any more; their models may go."""
        with self._changed:
            for item in held:
                if self._held.pop(item, item) is None:
                    self._bytes -= item.size_bytes
                    self._waiting[item.queue] -= not item.started
                    item.size_bytes = 0
                    self._give_back(item)
                    lease, item.model = item.model, None
                    if lease is not None:
                        lease.__exit__()
            self._changed.notify_all()

    def start(self, held: Iterable[Held]) -> None:
        """These begin to run: others may be received in their place."""
        with self._changed:
            for item in held:
                if item in self._held:
                    self._waiting[item.queue] -= not item.started
                item.started = True
                self._give_back(item)
            self._changed.notify_all()

    def all(self) -> list[Held]:
        """A copy."""
        with self._changed:
            return list(self._held)

    def claimed(self) -> int:
        """Jobs whose lease is ours and whose end is not written."""
        with self._changed:
            return sum(item.work is not None for item in self._held)

    def has_claims(self) -> bool:
        """Whether any job's lease is ours, or may be in a moment."""
        with self._changed:
            return any(item.claiming or item.work is not None for item in self._held)

    def waiting(self, queue: str) -> int:
        """Deliveries of a queue that have not begun to run."""
        with self._changed:
            return self._waiting[queue]

    def wait(self, timeout_s: float) -> None:
        """Until something was dropped or begins to run."""
        with self._changed:
            self._changed.wait(timeout_s)

    def wake(self) -> None:
        """End every wait."""
        with self._changed:
            self._changed.notify_all()

    def hold_bytes(self, held: Iterable[Held], *, wait_s: float) -> bool:
        """Count the inputs of claimed jobs, as soon as there is room; False: not within `wait_s`.

        One that alone is more than fits is let in when nothing else is in memory.
        """
        items = [item for item in held if item.work is not None]
        sizes = [input_bytes(item) for item in items]
        with self._changed:
            if not self._changed.wait_for(lambda: self._fits(sum(sizes)), wait_s):
                return False
            for item, size_bytes in zip(items, sizes, strict=True):
                if item in self._held:
                    self._bytes += size_bytes - item.size_bytes
                    item.size_bytes = size_bytes
            return True

    def _give_back(self, item: Held) -> None:
        entered, item.entered = item.entered, None
        if entered is not None:
            self._leave(entered)

    def _fits(self, more_bytes: int) -> bool:
        return not self._bytes or self._bytes + more_bytes <= self._bytes_max


def input_bytes(held: Held) -> int:
    """Of a job's input; one that nobody has read yet counts as the largest that may be."""
    if held.work is None:
        return 0
    return held.work.row.input.size_bytes or DECODED_BODY_BYTES_MAX
