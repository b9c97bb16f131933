"""Rarer garbage collection while lines are run.

Every block makes thousands of dicts and lists that live until it is written and are in no cycle.
With Python's default the collector walks them again and again, for a tenth to a third of the time
of a small model's batch (bar B1 in docs/performance.md). Cycles are still found, later.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

THRESHOLDS: Final = (50_000, 20, 100)
"""As `gc.set_threshold` takes them; 50,000 objects are a few MiB."""


@contextmanager
def rare_collections() -> Iterator[None]:
    """Collect rarely until the block ends; then as before."""
    before = gc.get_threshold()
    gc.set_threshold(*THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
