"""The loaded models of one process: least recently used out first, within a budget of bytes.

Loading is single-flight: however many threads ask for a model at once, one loads it and the others
wait for the same model or the same failure. A model in use is never evicted. What a "model" is, and
how it is loaded, is the caller's; this module only counts.
"""

from __future__ import annotations

import threading
import time
from copy import copy
from itertools import count
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from shared.errors import LanewayError, ModelUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

FAILURE_CACHE_S: Final = 10.0
"""How long a failed load is answered from memory, so that a broken model costs the others nothing."""


class Loaded(Protocol):
    """What can be held here."""

    @property
    def size_bytes(self) -> int:
        """Memory that it holds, as counted against the budget."""
        ...


T = TypeVar("T", bound=Loaded)


class Lease(Generic[T]):
    """A loaded model with its users. `with lease as model:` gives it back at the end.

    Leases of one model are the same object: entered by each `Sessions.use`, left by each `with`.
    """

    __slots__ = ("last_use", "model", "users")

    def __init__(self, model: T) -> None:
        self.model = model
        self.last_use = 0
        self.users: list[None] = []
        """One entry a user. Appending and popping are atomic and need no lock."""

    def __enter__(self) -> T:
        return self.model

    def __exit__(self, *_: object) -> None:
        self.users.pop()


class _Load:
    """A load on its way; waiters sleep on `done`."""

    __slots__ = ("done", "failure")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.failure: LanewayError | None = None


class Sessions(Generic[T]):
    """Models by name and version, loaded at first use and kept within `budget_bytes`."""

    def __init__(
        self,
        load: Callable[[str, str], T],
        *,
        budget_bytes: int,
        estimate_bytes: Callable[[str, str], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._budget_bytes = budget_bytes
        self._estimate_bytes = estimate_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._leases: dict[tuple[str, str], Lease[T]] = {}
        self._loads: dict[tuple[str, str], _Load] = {}
        self._failures: dict[tuple[str, str], tuple[LanewayError, float]] = {}
        self._ticks = count()
        self.spent = False
        """Whether a model was dropped since somebody last gave its memory back."""
        self.evicted = False
        """Whether a model ever made room for another."""

    def use(self, name: str, version: str) -> Lease[T]:
        """A lease of the model, loaded now if it is not; raises what its load raised.

        Every lease must be entered with `with`, exactly once.
        """
        key = (name, version)
        lease = self._leases.get(key)
        if lease is not None:
            lease.users.append(None)
            lease.last_use = next(self._ticks)
            # Eviction takes a lease out of the dict before it looks for users: still in means ours.
            if key in self._leases:
                return lease
            lease.users.pop()
        return self._use_after_load(key)

    def get(self, name: str, version: str) -> T:
        """The model without a lease, for a process that answers one request at a time.

        Eviction happens only inside `get` and `use`, so what one thread alone is given stays.
        """
        lease = self._leases.get((name, version))
        if lease is None:
            with self.use(name, version) as model:
                return model
        lease.last_use = next(self._ticks)
        return lease.model

    def has(self, name: str, version: str) -> bool:
        """Whether the model is in memory; it may be loaded, or gone, a moment later."""
        return (name, version) in self._leases

    def fits(self, name: str, version: str) -> bool:
        """Whether the model can be loaded without another one going."""
        with self._lock:
            return self._size_bytes() + self._estimate_bytes(name, version) <= self._budget_bytes

    def in_the_way(self, name: str, version: str) -> list[tuple[str, str]]:
        """Models in use that keep this one from fitting, least recently used first; none: it can be loaded.

        Not more of them than would have to go.
        """
        key = (name, version)
        with self._lock:
            if key in self._leases:
                return []
            free_bytes = self._budget_bytes - self._estimate_bytes(*key)
            used = {one: lease for one, lease in self._leases.items() if lease.users}
            over_bytes = sum(lease.model.size_bytes for lease in used.values()) - free_bytes
            found = []
            for one in sorted(used, key=lambda one: used[one].last_use):
                if over_bytes <= 0:
                    break
                found.append(one)
                over_bytes -= used[one].model.size_bytes
            return found

    def drop(self, name: str, version: str) -> None:
        """Forget the model, in use or not: its memory goes with its last user, the next one loads it anew."""
        with self._lock:
            self._leases.pop((name, version), None)
        self.spent = True

    def clear(self) -> None:
        """Forget every model, as `drop` does."""
        with self._lock:
            self._leases.clear()

    def loaded(self) -> list[tuple[str, str]]:
        """The models in memory, least recently used first."""
        with self._lock:
            return sorted(self._leases, key=lambda key: self._leases[key].last_use)

    @property
    def size_bytes(self) -> int:
        """What the loaded models hold together."""
        with self._lock:
            return self._size_bytes()

    def _use_after_load(self, key: tuple[str, str]) -> Lease[T]:
        while True:
            with self._lock:
                lease = self._leases.get(key)
                if lease is not None:
                    lease.users.append(None)
                    lease.last_use = next(self._ticks)
                    return lease
                self._raise_recent_failure(key)
                flight = self._loads.get(key)
                if flight is None:
                    mine = self._loads[key] = _Load()
            if flight is None:
                return self._load_for_all(key, mine)
            flight.done.wait()
            if flight.failure is not None:
                raise copy(flight.failure)

    def _load_for_all(self, key: tuple[str, str], flight: _Load) -> Lease[T]:
        try:
            self._make_room(self._estimate_bytes(*key))
            lease = Lease(self._load(*key))
        except BaseException as error:
            self._fail(key, flight, error)
            raise
        lease.users.append(None)
        lease.last_use = next(self._ticks)
        with self._lock:
            self._leases[key] = lease
            del self._loads[key]
        flight.done.set()
        self._make_room(0)
        return lease

    def _fail(self, key: tuple[str, str], flight: _Load, error: BaseException) -> None:
        flight.failure = (
            error
            if isinstance(error, LanewayError)
            else ModelUnavailableError(f"loading model {key[0]!r} version {key[1]!r} failed")
        )
        with self._lock:
            self._failures[key] = (flight.failure, self._clock() + FAILURE_CACHE_S)
            del self._loads[key]
        flight.done.set()

    def _raise_recent_failure(self, key: tuple[str, str]) -> None:
        failure = self._failures.get(key)
        if failure is None:
            return
        if self._clock() < failure[1]:
            raise copy(failure[0])
        del self._failures[key]

    def _make_room(self, wanted_bytes: int) -> None:
        """Drop the least recently used idle models until `wanted_bytes` more fit, or none is idle."""
        evicted = []
        with self._lock:
            for key in sorted(self._leases, key=lambda key: self._leases[key].last_use):
                if self._size_bytes() + wanted_bytes <= self._budget_bytes:
                    break
                lease = self._leases.pop(key)
                if lease.users:
                    self._leases[key] = lease
                else:
                    evicted.append(lease)
                    self.evicted = True
        # Freeing a session takes milliseconds; it happens as `evicted` goes, outside the lock.

    def _size_bytes(self) -> int:
        return sum(lease.model.size_bytes for lease in self._leases.values())
