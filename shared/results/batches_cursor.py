"""Cursors of a tenant's list of batches: opaque to callers, bound to their tenant.

The same form as the cursors of jobs, so that one is refused where the other is meant only by its
tenant; an id of the other kind is merely a position between others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.results.cursor import read_cursor as read_cursor  # noqa: PLC0414  one form for both
from shared.results.cursor import write_cursor as write_cursor  # noqa: PLC0414  one form for both

if TYPE_CHECKING:
    from shared.results.batches import BatchRow


def listed_at(row: BatchRow) -> str:
    """What a tenant's batches are sorted by, as text: time of creation, then id."""
    return f"{row.created_at:015.3f}#{row.key.id}"
