"""Calls that wait for the network, made at the same time on a few threads that are kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
R = TypeVar("R")


class Parallel:
    """`threads` 1: everything happens in the caller's thread, for stores that never wait."""

    def __init__(self, *, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "laneway-jobs") if threads > 1 else None

    def map(self, call: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """What `call` gives for each of `items`, in order; raises what the first failure raised."""
        if self._pool is None or len(items) < 2:  # noqa: PLR2004  one call is made where we are
            return [call(item) for item in items]
        return list(self._pool.map(call, items))

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
