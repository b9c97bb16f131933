"""How many jobs of one tenant a pool has in hand at once, so that workers are left for the others.

Whoever takes jobs in hand enters with them and leaves when they have ended; an entry that nobody left
lapses with its lease, so a count cannot drift. What is turned away is given places in a line, at the
pace at which the tenant's jobs have ended lately: it comes again about when it can be taken, and is
not looked at over and over meanwhile.

Behind the `Shares` protocol are shares in memory, for one process, and on a DynamoDB table
(`shares_dynamodb`), for all functions of a pool; both pass one contract suite.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HOLD_S: Final = 1.0
"""How long jobs are held, before any was seen."""
HOLD_WEIGHT: Final = 0.2
"""Of the last one in the average."""
EAGER: Final = 1.2
"""Those in line come so much faster than places become free, so that no place waits for them."""
AWAY_S: Final = (1.0, 900.0)
"""Nobody is sent away for less, or for longer."""


class Entry(NamedTuple):
    """Jobs of one tenant that somebody takes in hand."""

    line: str
    """The pool's queue."""
    tenant: str
    owner: str
    wanted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """What came of it: `granted` may be taken, and each of the others comes again after its time."""

    entry: Entry
    granted: int
    again_after_s: Sequence[float]
    at: float
    hold_s: float
    """What was known of the time that the tenant's jobs are held."""
    lapsed: Sequence[str] = ()
    """Owners whose entries nobody has left."""


class Shares(Protocol):
    """Counts what is in hand, by queue and tenant.

    Raises `StoreUnavailableError` when that cannot be known.
    """

    def enter(self, entry: Entry, *, share: int, now: float, until: float) -> Entered:
        """Take in hand up to `share` jobs of the tenant, all owners together; lapses at `until`."""

    def leave(self, entered: Entered, *, now: float) -> None:
        """The jobs that were granted have ended, or were handed back."""


def free(share: int, others: int, wanted: int) -> int:
    """How many of those wanted may be taken."""
    return max(0, min(wanted, share - others))


def in_one_go(share: int, others: int, wanted: int) -> int:
    """How many of a delivery may be taken: most of it or none, where some are in hand already.

    A worker that runs two jobs of ten is as little free for others as one that runs ten.
    """
    found = free(share, others, wanted)
    return found if 2 * found >= min(wanted, share) else 0


def pace_per_s(share: int, hold_s: float) -> float:
    """At which those who were turned away come again."""
    return EAGER * share / max(hold_s, 0.001)


def away_s(
    turned: int, *, ends_at: float, pace: float, now: float, least_s: float = AWAY_S[0]
) -> list[float]:
    """How long each is sent away, where the line with all of them ends at `ends_at`."""
    places = (ends_at - now - (turned - 1 - place) / pace for place in range(turned))
    return [min(AWAY_S[1], max(least_s, place)) for place in places]


def held_s(entered: Entered, now: float) -> float:
    """The average with this one."""
    return (1 - HOLD_WEIGHT) * entered.hold_s + HOLD_WEIGHT * (now - entered.at)


@dataclass(slots=True)
class _Kept:
    """What is known of one tenant on one queue."""

    entries: dict[str, tuple[int, float]] = field(default_factory=dict)
    hold_s: float = HOLD_S
    line_ends_at: float = 0.0


class MemoryShares:
    """Implements `Shares` in this process; safe to use from several threads."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._lock = Lock()

    def enter(self, entry: Entry, *, share: int, now: float, until: float) -> Entered:
        """Take jobs in hand."""
        with self._lock:
            kept = self._kept.setdefault((entry.line, entry.tenant), _Kept())
            kept.entries = _alive(kept.entries, now)
            granted = in_one_go(
                share, sum(count for count, _ in kept.entries.values()), entry.wanted
            )
            if granted:
                kept.entries[entry.owner] = (granted, until)
            turned = entry.wanted - granted
            pace = pace_per_s(share, kept.hold_s)
            if turned:
                kept.line_ends_at = max(kept.line_ends_at, now) + turned / pace
            return Entered(
                entry=entry,
                granted=granted,
                again_after_s=away_s(turned, ends_at=kept.line_ends_at, pace=pace, now=now),
                at=now,
                hold_s=kept.hold_s,
            )

    def leave(self, entered: Entered, *, now: float) -> None:
        """These have ended."""
        entry = entered.entry
        with self._lock:
            kept = self._kept[entry.line, entry.tenant]
            if kept.entries.pop(entry.owner, None) is not None:
                kept.hold_s = held_s(entered, now)


def _alive(entries: Mapping[str, tuple[int, float]], now: float) -> dict[str, tuple[int, float]]:
    return {owner: held for owner, held in entries.items() if held[1] > now}
