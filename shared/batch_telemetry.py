"""What is told of batches: a line for each run of a chunk, and one for each batch that has ended.

Nothing logged here holds a line of the input, an answer or an exception's message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shared.metric_lines import directive, write_line
from shared.telemetry import Telemetry

if TYPE_CHECKING:
    from shared.jobs.batches.facts import ChunkFacts
    from shared.results.batches import BatchRow

CHUNK: Final = directive(
    [["stage", "pool"]],
    (
        ("chunks", "Count"),
        ("chunk_lines", "Count"),
        ("chunk_line_failures", "Count"),
        ("chunk_attempts", "Count"),
        ("chunk_ms", "Milliseconds"),
    ),
)
BATCH: Final = directive(
    [["stage", "pool"], ["stage", "pool", "status"]], (("batches", "Count"), ("batch_s", "Seconds"))
)


def chunk_members(facts: ChunkFacts) -> dict[str, Any]:
    """The members of a chunk's line, but for those that say whose line it is."""
    row, chunk = facts.row, facts.chunk
    return {
        "batch_id": row.key.id,
        "tenant": row.key.tenant,
        "model": row.model,
        "version": row.version,
        "chunk": chunk.index,
        "outcome": facts.outcome,
        "chunks": int(facts.outcome == "published"),
        "chunk_lines": facts.lines,
        "chunk_line_failures": facts.failed,
        "chunk_attempts": chunk.attempt,
        "chunk_ms": facts.took_s * 1000,
    }


class BatchTelemetry(Telemetry):
    """Of the splitter and the finisher, which serve every pool."""

    def __init__(self, *, service: str, stage: str, log_level: str = "INFO") -> None:
        super().__init__(service=service, stage=stage, pool="", log_level=log_level)

    def batch(self, row: BatchRow) -> None:
        """Write the line of a batch that has ended; `row` as it was kept."""
        ended_at = row.finished_at or row.created_at
        fields = {
            "stage": self._stage,
            "pool": row.pool,
            "batch_id": row.key.id,
            "tenant": row.key.tenant,
            "model": row.model,
            "version": row.version,
            "status": row.status,
            "code": "ok" if row.failure is None else row.failure.code,
            "lines": row.total,
            "line_failures": row.failed,
            "input_bytes": row.input_bytes,
            "batches": 1,
            "batch_s": ended_at - row.created_at,
        }
        write_line(self._form, "batch", fields, BATCH)
