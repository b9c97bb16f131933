"""`laneway jobs`: list jobs, show one, retry a failed one."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from cli.connection import (
    ApiKeyOption,
    EndpointOption,
    IamOption,
    IamRegionOption,
    JobArgument,
    TimeoutOption,
    connect,
)
from cli.output import CommandError, answer, answer_json, say
from cli.stages import LOCAL, RegionOption, StageOption
from cli.tables import show_job, show_jobs

app = typer.Typer(help="List jobs, show one, retry a failed one.")


@app.callback(invoke_without_command=True)
def jobs(
    context: typer.Context,
    *,
    status: Annotated[
        str | None,
        typer.Option(help="queued, running, succeeded, failed, canceled or expired."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="A model's name.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    endpoint: EndpointOption = None,
    api_key: ApiKeyOption = None,
    iam: IamOption = False,
    region: IamRegionOption = None,
    timeout_s: TimeoutOption = 60.0,
) -> None:
    """List your jobs, newest first; or show or retry one."""
    if context.invoked_subcommand is not None:
        return
    with connect(endpoint, api_key=api_key, iam=iam, region=region, timeout_s=timeout_s) as client:
        found = list(islice(client.jobs(status=status, model=model), limit + 1))
    if not found:
        say("no job")
        return
    show_jobs(found[:limit])
    if len(found) > limit:
        say(f"there are more: the newest {limit} are shown, see --limit")


@app.command()
def show(
    job_id: JobArgument,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    endpoint: EndpointOption = None,
    api_key: ApiKeyOption = None,
    iam: IamOption = False,
    region: IamRegionOption = None,
    timeout_s: TimeoutOption = 60.0,
) -> None:
    """Show all that is known of a job."""
    from dataclasses import asdict

    with connect(endpoint, api_key=api_key, iam=iam, region=region, timeout_s=timeout_s) as client:
        job = client.job(job_id)
    if as_json:
        answer_json(asdict(job))
    else:
        show_job(job)


@app.command()
def retry(
    job_id: JobArgument,
    *,
    tenant: Annotated[str, typer.Option(help="Whose job it is.")] = "default",
    stage: StageOption = LOCAL,
    region: RegionOption = None,
) -> None:
    """Make a new job from the stored input of a failed one; stdout gets its id.

    Does nothing on a job that has not failed. With the AWS identity of this machine, not a key.
    """
    from cli.audited import open_audit
    from cli.stage_jobs import open_stage
    from shared.jobs.retry import NotFailedError
    from shared.results.rows import JobKey

    try:
        with (
            open_stage(stage, region) as opened,
            open_audit(stage, region).act("retry", tenant=tenant, job_id=job_id),
        ):
            retried = opened.retries.retry(JobKey(tenant, job_id))
    except NotFailedError as error:
        raise CommandError(f"{error}; nothing was done") from error
    row = retried.row
    if retried.created:
        say(f"job {job_id} is retried as a new job of {row.model} {row.version}:")
    else:
        say(f"job {job_id} was retried before, as a job that is {row.status}; nothing was done:")
    answer(row.key.id)
