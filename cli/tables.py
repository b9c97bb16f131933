"""Results and jobs as tables for people."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import answer_table, say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cli.client import Job, Result, Tensor

OutputOption = Annotated[
    Path | None, typer.Option(help="Write the answer's body to this file, as it came.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer's JSON.")]

SHOWN_WHOLE_MAX = 24
SHOWN_OF_LARGE = 8


def show_result(result: Result) -> None:
    """The outputs of a model."""
    say(f"{result.model_name} version {result.model_version}")
    rows = [
        (name, tensor.datatype, str(list(tensor.shape)), _values(tensor))
        for name, tensor in result.outputs.items()
    ]
    answer_table(("output", "datatype", "shape", "values"), rows)


def show_jobs(jobs: Iterable[Job]) -> None:
    """Jobs, one a row, in the order in which they come."""
    answer_table(
        ("id", "status", "model", "version", "class", "created", "attempt"),
        [
            (
                job.id,
                job.status,
                job.model,
                job.version,
                job.latency_class,
                to_the_second(job.created_at),
                f"{job.attempt}/{job.max_attempts}",
            )
            for job in jobs
        ],
        whole=("id",),
    )


def show_job(job: Job) -> None:
    """All that is known of one job, one fact a row; what is not known is left out."""
    facts: list[tuple[str, Any]] = [
        ("id", job.id),
        ("status", job.status),
        ("model", f"{job.model} {job.version}"),
        ("class", job.latency_class),
        ("attempt", f"{job.attempt} of {job.max_attempts}"),
        ("created", job.created_at),
        ("started", job.started_at),
        ("finished", job.finished_at),
        ("expires", None if job.finished else job.expires_at),
        ("waited ms", job.queue_ms),
        ("ran ms", job.run_ms),
        ("ran together", job.rows_stacked),
        ("retry of", job.retry_of),
        ("error", None if job.error is None else f"{job.error.code}: {job.error.error}"),
        *((f"metadata {name}", value) for name, value in job.metadata.items()),
    ]
    answer_table(("", ""), [(name, str(value)) for name, value in facts if value is not None])


def to_the_second(time: str) -> str:
    """An ISO time without its fraction."""
    return time.partition(".")[0].replace("T", " ")


def _values(tensor: Tensor) -> str:
    """All values of a small tensor, nested; the first ones of a large one."""
    flat = [_readable(value) for value in tensor.flat()]
    if len(flat) > SHOWN_WHOLE_MAX:
        shown = ", ".join(map(str, flat[:SHOWN_OF_LARGE]))
        return f"{shown}, ... ({len(flat)} values)"
    return json.dumps(replace(tensor, data=flat).tolist())


def _readable(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return float(f"{value:.6g}") if isinstance(value, float) else value
