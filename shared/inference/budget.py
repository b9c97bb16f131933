"""The CPU time that a look at a model may take: so much for each step, and so much for all of them.

A file that wastes a little less than each step may have would else add up to many times what any of
them is given. The files' size lengthens both: a large model is read and loaded for longer.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

BYTES_A_SECOND: Final = 50_000_000
"""Of a model's files, read and loaded on a slow machine."""
ENDED_S: Final = 0.001
"""A timer of 0 would be none."""


class Steps(Protocol):
    """Told what begins."""

    def __call__(self, step: str, cpu_s: float = 0.0, /, *, size_bytes: int = 0) -> float:
        """CPU seconds that are left for all.

        `cpu_s`: what this step may take, 0: all that is left; besides what `size_bytes` of files give it.
        """
        ...


def untimed(_step: str, _cpu_s: float = 0.0, /, *, size_bytes: int = 0) -> float:  # noqa: ARG001  as a Steps
    """Nobody looks at the time."""
    return math.inf


class Budget:
    """Steps of this process, whose CPU time is counted from its beginning.

    `begin_timer` ends the process after so many seconds of CPU time; `tell` gets a line for each step.
    """

    def __init__(
        self,
        total_s: float,
        *,
        begin_timer: Callable[[float], object],
        tell: Callable[[Mapping[str, Any]], object],
        spent_s: Callable[[], float] = time.process_time,
    ) -> None:
        self._total_s = total_s
        self._begin_timer = begin_timer
        self._tell = tell
        self._spent_s = spent_s

    def __call__(self, step: str, cpu_s: float = 0.0, /, *, size_bytes: int = 0) -> float:
        """See `Steps`."""
        size_s = size_bytes / BYTES_A_SECOND
        self._total_s += size_s
        left_s = max(ENDED_S, self._total_s - self._spent_s())
        own_s = cpu_s + size_s if cpu_s else math.inf
        line = {"step": step, "total_s": self._total_s}
        self._tell({**line, "cpu_s": own_s} if own_s < left_s else line)
        self._begin_timer(min(own_s, left_s))
        return left_s
