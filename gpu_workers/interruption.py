"""Notices that the instance will be taken away, by asking its metadata every few seconds.

What each kind of notice leads to, and why, is in docs/decisions/0090-what-an-interruption-leads-to.md.
Nothing here stops the worker: a metadata service that fails is reported, and asked again.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from gpu_workers.metadata import MetadataError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from gpu_workers.metadata import Metadata

SPOT_PATH: Final = "/latest/meta-data/spot/instance-action"
REBALANCE_PATH: Final = "/latest/meta-data/events/recommendations/rebalance"
LIFECYCLE_PATH: Final = "/latest/meta-data/autoscaling/target-lifecycle-state"

POLL_S: Final = 5.0
"""What AWS advises for spot notices (EC2 user guide, read 2026-11-22)."""
UNREACHABLE_S: Final = 60.0
"""A worker on EC2 that has reached nothing for so long says so, and again each time it passes."""
NOTICE_S: Final = 120.0
"""How long before the end AWS gives a spot notice; used where a notice names no readable time."""
LIFECYCLE_S: Final = 110.0
"""Left of the termination hook's 120 s when the state is noticed one poll and a call late."""
REBALANCE_S: Final = 600.0
"""For what is under way at a recommendation. Nothing is being taken away yet, and a later notice
brings its own, sooner deadline."""

Kind = Literal["spot", "rebalance", "lifecycle"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interruption:
    """The instance will go: by a spot notice, a recommendation to move, or the Auto Scaling group."""

    kind: Kind
    deadline: float
    """Epoch seconds: work that has not ended by then may be lost with the instance."""


def watch(
    metadata: Metadata,
    on_interruption: Callable[[Interruption], None],
    stop: threading.Event,
    *,
    on_unreachable: Callable[[float], None] = lambda _: None,
    poll_s: float = POLL_S,
    unreachable_s: float = UNREACHABLE_S,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Ask until `stop` is set; call `on_interruption` once per kind, and again for a sooner deadline.

    `on_unreachable` is given the seconds for which nothing was reached, each time `unreachable_s`
    has passed.
    """
    watcher = _Watcher(metadata, clock)
    reached_at = reported_at = monotonic()
    while not stop.is_set():
        for interruption in watcher.poll():
            on_interruption(interruption)
        now = monotonic()
        if watcher.reached:
            reached_at = reported_at = now
        elif now - reported_at >= unreachable_s:
            reported_at = now
            on_unreachable(now - reached_at)
        stop.wait(poll_s)


class _Watcher:
    """Remembers what was seen, so that each notice is told once."""

    def __init__(self, metadata: Metadata, clock: Callable[[], float]) -> None:
        self._metadata = metadata
        self._clock = clock
        self._told: dict[Kind, float] = {}
        self._standing: str | None = None
        self._has_looked = False
        self.reached = True
        """Whether the last poll got every answer."""

    def poll(self) -> list[Interruption]:
        """What is new since the last poll, the most urgent first; a path that fails says nothing."""
        self.reached = True
        found = (
            self._spot(self._ask(SPOT_PATH)),
            self._lifecycle(self._ask(LIFECYCLE_PATH)),
            self._rebalance(self._ask(REBALANCE_PATH)),
        )
        return [item for item in found if item is not None and self._is_news(item)]

    def _ask(self, path: str) -> str | None:
        try:
            return self._metadata.get(path)
        except MetadataError as error:
            self.reached = False
            _log.debug("metadata: %s", error)
            return None

    def _spot(self, text: str | None) -> Interruption | None:
        if text is None:
            return None
        return Interruption(kind="spot", deadline=_time_in(text) or self._fallback("spot"))

    def _lifecycle(self, state: str | None) -> Interruption | None:
        if state is None or not state.strip().startswith("Terminated"):
            return None
        deadline = self._told.get("lifecycle", self._clock() + LIFECYCLE_S)
        return Interruption(kind="lifecycle", deadline=deadline)

    def _rebalance(self, text: str | None) -> Interruption | None:
        """A recommendation that stood at the first poll was answered by the process before this."""
        if self.reached and not self._has_looked:
            self._has_looked, self._standing = True, text
        if text is None or text == self._standing:
            return None
        deadline = self._told.get("rebalance", self._clock() + REBALANCE_S)
        return Interruption(kind="rebalance", deadline=deadline)

    def _fallback(self, kind: Kind) -> float:
        return self._told.get(kind, self._clock() + NOTICE_S)

    def _is_news(self, item: Interruption) -> bool:
        if item.deadline >= self._told.get(item.kind, float("inf")):
            return False
        self._told[item.kind] = item.deadline
        return True


def _time_in(notice: str) -> float | None:
    """The `time` of a notice as epoch seconds; None when there is none to read."""
    try:
        moment = datetime.fromisoformat(json.loads(notice)["time"])
    except (KeyError, TypeError, ValueError):
        _log.warning("a notice without a readable time: %.200s", notice)
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
