"""How long to receive nothing while the store or the broker does not answer."""

from __future__ import annotations

from random import random
from typing import TYPE_CHECKING, Final

from shared.jobs.delivery import Retry

if TYPE_CHECKING:
    import threading

FIRST_S: Final = 0.5
LONGEST_S: Final = 30.0
FACTOR: Final = 2.0


class Outage:
    """Pauses that grow with each failure in a row, with jitter, so that a fleet does not come back at once."""

    def __init__(self, *, first_s: float = FIRST_S, longest_s: float = LONGEST_S) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self.pause_s = 0.0

    def met(self) -> None:
        """Something did not answer."""
        self.pause_s = min(self._longest_s, max(self._first_s, self.pause_s * FACTOR))

    def over(self) -> None:
        """It answers."""
        self.pause_s = 0.0

    def retry(self) -> Retry:
        """When what met it comes again."""
        return Retry(self.pause_s * (1 + random()))  # noqa: S311  spreads load, guards nothing

    def wait(self, stop: threading.Event) -> None:
        """Sit the pause out, or until `stop`; returns at once where all is well."""
        if self.pause_s:
            stop.wait(self.pause_s * (0.5 + random() / 2))  # noqa: S311  spreads load, guards nothing
