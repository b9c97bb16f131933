"""One limit of one tenant, as one environment keeps it: a lease to spend, paid for in the background.

An environment begins with a lease on credit. What was spent is taken from the shared counter by
another thread, at the latest when half of the lease is gone; where the counter gives less, the
environment has less, and what it has too little for it refuses. So all environments together let
through at most what the counter gave, and a lease each: `environments x lease` is the overshoot.
What is larger than a lease, a long body for instance, is paid for before it is let through.

Lambda freezes threads between two invocations. A payment that is under way then goes on with the
next request, and a request that finds too little left waits a moment for it before it is refused.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Final

from shared.errors import LanewayError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor, Future

    from shared.limiting.counters import Taken

WAIT_S: Final = 1.0
"""How long a request that finds too little left waits for a payment."""
PAUSE_S: Final = 0.25
"""Between two payments of which the first was not given all it asked for."""
UNREACHABLE_S: Final = 1.0
"""Between two payments of which the first met no counter."""


class Meter:
    """Safe to use from several threads.

    `take(amount, least, now)` asks the shared counter for so much, or for nothing where it has less than
    `least`; `whole`: what it holds at most.
    """

    def __init__(
        self,
        *,
        lease: int,
        whole: int,
        take: Callable[[int, int, float], Taken],
        clock: Callable[[], float],
    ) -> None:
        self._lease = lease
        self._balance = lease
        self._left = whole
        self._take = take
        self._clock = clock
        self._more_at = 0.0
        self._again_at = 0.0
        self._failure: LanewayError | None = None
        self._paying = False
        self._payment: Future[None] | None = None
        self._lock = Lock()

    def change(self, *, lease: int, whole: int, take: Callable[[int, int, float], Taken]) -> None:
        """Go on under another limit; what was spent and not paid for stays so."""
        with self._lock:
            self._balance += lease - self._lease
            self._lease, self._take = lease, take
            self._left = min(self._left, whole)
            self._more_at = self._again_at = 0.0

    def spend(self, amount: int, executor: Executor) -> bool:
        """Whether there was so much left: then it is spent, else nothing is.

        Raises `StoreUnavailableError` where that cannot be known, the counter not being reached.
        """
        if self._spend(amount, executor):
            return True
        payment = self._payment
        if payment is not None:
            _wait(payment)
            if self._spend(amount, executor):
                return True
            if amount > self._lease and self._payment is not None:
                # What was waited for was for a smaller one; the right payment has begun just now.
                _wait(self._payment)
                if self._spend(amount, executor):
                    return True
        if self._failure is not None:
            raise StoreUnavailableError(
                "the counters of limits cannot be reached now; try again later"
            ) from self._failure
        return False

    @property
    def left(self) -> int:
        """What the tenant may still spend, as far as this environment knows."""
        with self._lock:
            return max(0, self._left - max(0, self._lease - self._balance))

    @property
    def more_at(self) -> float:
        """Epoch seconds when the counter has more, where it gave too little; past: it was not asked."""
        return self._more_at

    def settle(self) -> None:
        """Pay for what was spent, in the thread that calls."""
        self._pay(0)

    def _spend(self, amount: int, executor: Executor) -> bool:
        with self._lock:
            now = self._clock()
            spent = self._balance >= amount
            if spent:
                self._balance -= amount
                due = self._balance <= self._lease // 2
            else:
                # The counter has said that there is less than this, until more comes.
                due = now >= self._more_at or amount - self._balance <= self._left
            begins = due and not self._paying and now >= self._again_at
            self._paying = self._paying or begins
        if begins:
            self._payment = executor.submit(self._settle, 0 if spent else amount)
        return spent

    def _settle(self, wanted: int) -> None:
        try:
            self._pay(wanted)
        finally:
            self._paying = False

    def _pay(self, wanted: int) -> None:
        """Take from the counter what was spent, and what `wanted` is more than a lease."""
        now = self._clock()
        with self._lock:
            owed = max(self._lease, wanted) - self._balance
            least = wanted - self._balance if wanted > self._lease else 0
        if owed <= 0:
            return
        try:
            taken = self._take(owed, least, now)
        except LanewayError as error:
            with self._lock:
                self._failure, self._again_at = error, now + UNREACHABLE_S
            return
        with self._lock:
            self._failure = None
            self._balance += taken.granted
            self._left = taken.left
            self._more_at = self._again_at = 0.0
            if taken.granted < owed:
                self._more_at = taken.again_at
                # Others may fit where this one did not.
                self._again_at = 0.0 if least else max(taken.again_at, now + PAUSE_S)


def _wait(payment: Future[None]) -> None:
    try:
        payment.result(WAIT_S)
    except TimeoutError:
        return
