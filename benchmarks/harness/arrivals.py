"""Open-loop load: requests arrive when they arrive, whether or not anybody is free.

A latency is taken from the moment at which a request was due, so that a stall is paid by every request that
came while it lasted (no coordinated omission). Arrivals are random and the same for a seed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import quantiles


@dataclass
class Outcome:
    """What became of the requests of one rate; `what` took them."""

    what: str
    rate: float
    """Arrivals a second, asked for."""
    seconds: float
    sent: int = 0
    """Accepted: handed over, or confirmed by the broker."""
    refused: int = 0
    """Turned away at once: nobody was free, and nobody may be started, or the broker did not take it."""
    statuses: Counter[int] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)
    twice: int = 0
    """Answers to what was answered before."""
    late_ms: float = 0.0
    """How late the generator itself was at worst."""
    cleared_s: float = 0.0
    """From the last arrival to the last answer."""

    @property
    def asked(self) -> int:
        """Requests that were due."""
        return self.sent + self.refused

    @property
    def answered(self) -> int:
        """Requests with an answer, whatever it says."""
        return self.statuses.total()

    @property
    def errors(self) -> int:
        """Answers that are no 200."""
        return self.answered - self.statuses[200]

    @property
    def lost(self) -> int:
        """Requests that nobody refused and nobody answered."""
        return self.sent - self.answered

    def percentile_ms(self, percent: int) -> float:
        """Of the answers' latencies; 0.0 without two."""
        if len(self.latencies_ms) < 2:
            return 0.0
        return quantiles(self.latencies_ms, n=100, method="inclusive")[percent - 1]

    def as_json(self) -> Mapping[str, object]:
        """What a record keeps of it."""
        return {
            "what": self.what,
            "rate": self.rate,
            "seconds": self.seconds,
            "requests": self.asked,
            **{f"p{percent}_ms": self.percentile_ms(percent) for percent in (50, 95, 99)},
            "errors": self.errors,
            "refused": self.refused,
            "lost": self.lost,
            "twice": self.twice,
            "late_ms": self.late_ms,
            "cleared_s": self.cleared_s,
        }


def arrivals(rate: float, seconds: float, *, seed: int) -> Iterator[float]:
    """Seconds from the start at which requests are due: a Poisson process."""
    chance = random.Random(seed)  # noqa: S311  to be had again
    at = chance.expovariate(rate)
    while at < seconds:
        yield at
        at += chance.expovariate(rate)
