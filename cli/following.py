"""Waits for a job before the eyes of a person, and shows how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import CommandError, console, say
from cli.tables import show_result

if TYPE_CHECKING:
    from cli.client import Job, Laneway

WaitForOption = Annotated[
    float, typer.Option("--wait-timeout-s", min=0.0, help="Longest wait for the job.")
]


def wait_for(client: Laneway, job_id: str, *, timeout_s: float, may_appear: bool = False) -> Job:
    """The job once it has ended; its status is shown while it has not."""
    with console(stderr=True).status(f"job {job_id}") as status:
        return client.wait(
            job_id,
            timeout_s=timeout_s,
            may_appear=may_appear,
            on_poll=lambda job: status.update(f"job {job.id}: {describe(job)}"),
        )


def show_end(client: Laneway, job: Job) -> None:
    """The result of a job that succeeded; raises `CommandError` for any other end."""
    if job.status != "succeeded":
        raise CommandError(f"job {job.id}: {describe(job)}")
    say(f"job {job.id}: {describe(job)}")
    show_result(client.result(job))


def describe(job: Job) -> str:
    """Where a job stands, in a line."""
    if job.error is not None:
        return f"{job.status} after {job.attempt} of {job.max_attempts} attempts: {job.error.code}: {job.error.error}"
    if job.status == "running":
        return f"running, attempt {job.attempt} of {job.max_attempts}"
    if job.queue_ms is None or job.run_ms is None:
        return job.status
    together = "alone" if job.rows_stacked == 1 else f"with {job.rows_stacked} jobs at once"
    return f"{job.status}: waited {job.queue_ms:.0f} ms, ran {job.run_ms:.0f} ms {together}"
