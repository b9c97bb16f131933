"""What is told of batches while they are worked on: one `ChunkFacts` for each run of a chunk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from shared.results.batches import BatchRow, ChunkRow

ChunkOutcome = Literal["published", "lost", "released"]


class ChunkFacts(NamedTuple):
    """One run of a chunk as its line in the log has it."""

    row: BatchRow
    chunk: ChunkRow
    outcome: ChunkOutcome
    """`lost`: another owner has the chunk, or the batch has ended; `released`: handed back with nothing done."""
    took_s: float
    lines: int = 0
    """Answered or refused, and published."""
    failed: int = 0
    """Of these, refused."""


def tell_nobody(_: object) -> None:
    """Where nobody wants to know."""
