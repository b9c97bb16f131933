"""One limit of one tenant, as one environment keeps it: a lease to spend, paid for in the background.

An environment begins with a lease on credit. What was spent is taken from the shared counter by
another thread, at the latest when half of the lease is gone; where the counter gives less, the
environment has less, and with nothing left it refuses. So all environments together let through at
most what the counter gave, and a lease each: `environments x lease` is the overshoot.

Lambda freezes threads between two invocations. A payment that is under way then goes on with the
next request, and a request that finds nothing left waits a moment for it before it is refused.
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
"""How long a request that finds nothing left waits for a payment that is under way."""
PAUSE_S: Final = 0.25
"""Between two payments of which the first was not given all it asked for."""
UNREACHABLE_S: Final = 1.0
"""Between two payments of which the first met no counter."""


class Meter:
    """Safe to use from several threads.

    `take(amount, now)` asks the shared counter; `whole`: what it holds at most.
    """

    def __init__(
        self,
        *,
        lease: int,
        whole: int,
        take: Callable[[int, float], Taken],
        clock: Callable[[], float],
    ) -> None:
        self._lease = lease
        self._balance = lease
        self._left = whole
        self._take = take
        self._clock = clock
        self._again_at = 0.0
        self._failure: LanewayError | None = None
        self._paying = False
        self._payment: Future[None] | None = None
        self._lock = Lock()

    def change(self, *, lease: int, whole: int, take: Callable[[int, float], Taken]) -> None:
        """Go on under another limit; what was spent and not paid for stays so."""
        with self._lock:
            self._balance += lease - self._lease
            self._lease, self._take = lease, take
            self._left = min(self._left, whole)
            self._again_at = 0.0

    def spend(self, amount: int, executor: Executor) -> bool:
        """Whether there was anything left: then `amount` is spent, even where it is more than that.

        Raises `StoreUnavailableError` where nothing is left because the counter was not reached.
        """
        if self._spend(amount, executor):
            return True
        payment = self._payment
        if payment is not None:
            _wait(payment)
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
    def again_at(self) -> float:
        """Epoch seconds before which the counter has nothing to give."""
        return self._again_at

    def settle(self) -> None:
        """Pay for what was spent, in the thread that calls."""
        with self._lock:
            owed = self._lease - self._balance
        if owed > 0:
            self._pay(owed)

    def _spend(self, amount: int, executor: Executor) -> bool:
        with self._lock:
            spent = self._balance > 0
            if spent:
                self._balance -= amount
            due = self._balance <= self._lease // 2 and self._clock() >= self._again_at
            begins = due and not self._paying
            self._paying = self._paying or begins
        if begins:
            self._payment = executor.submit(self._settle)
        return spent

    def _settle(self) -> None:
        try:
            self.settle()
        finally:
            self._paying = False

    def _pay(self, owed: int) -> None:
        now = self._clock()
        try:
            taken = self._take(owed, now)
        except LanewayError as error:
            with self._lock:
                self._failure, self._again_at = error, now + UNREACHABLE_S
            return
        with self._lock:
            self._failure = None
            self._balance += taken.granted
            self._left = taken.left
            self._again_at = 0.0 if taken.granted == owed else max(taken.again_at, now + PAUSE_S)


def _wait(payment: Future[None]) -> None:
    try:
        payment.result(WAIT_S)
    except TimeoutError:
        return
