"""`laneway wait`, `laneway result`, `laneway cancel`: one job, by its id."""

from __future__ import annotations

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
from cli.following import WaitForOption, describe, wait_for
from cli.output import CommandError, answer, say
from cli.tables import JsonOption, OutputOption, show_job, show_result


def wait(
    job_id: JobArgument,
    *,
    wait_timeout_s: WaitForOption = 300.0,
    may_appear: Annotated[
        bool, typer.Option("--may-appear", help="Wait for an unknown id too: it is on a queue.")
    ] = False,
    endpoint: EndpointOption = None,
    api_key: ApiKeyOption = None,
    iam: IamOption = False,
    region: IamRegionOption = None,
    timeout_s: TimeoutOption = 60.0,
) -> None:
    """Wait until a job has ended and show it; exit code 1 for any end but success."""
    with connect(endpoint, api_key=api_key, iam=iam, region=region, timeout_s=timeout_s) as client:
        job = wait_for(client, job_id, timeout_s=wait_timeout_s, may_appear=may_appear)
    show_job(job)
    if job.status != "succeeded":
        raise CommandError(f"job {job.id}: {describe(job)}")


def result(
    job_id: JobArgument,
    *,
    output: OutputOption = None,
    as_json: JsonOption = False,
    endpoint: EndpointOption = None,
    api_key: ApiKeyOption = None,
    iam: IamOption = False,
    region: IamRegionOption = None,
    timeout_s: TimeoutOption = 60.0,
) -> None:
    """Show what a job answered; a failed one ends with the error that it failed with."""
    with connect(endpoint, api_key=api_key, iam=iam, region=region, timeout_s=timeout_s) as client:
        found = client.raw_result(job_id)
    if output is not None:
        output.write_bytes(found.body)
        say(f"{len(found.body)} bytes written to {output}")
    elif as_json and found.header_length is not None:
        raise CommandError("this result is binary: write it to a file with --output")
    elif as_json:
        answer(found.body.decode())
    else:
        show_result(found.parsed())


def cancel(
    job_id: JobArgument,
    *,
    endpoint: EndpointOption = None,
    api_key: ApiKeyOption = None,
    iam: IamOption = False,
    region: IamRegionOption = None,
    timeout_s: TimeoutOption = 60.0,
) -> None:
    """Cancel a job; one that has ended stays as it ended, and exit code 1 says so."""
    with connect(endpoint, api_key=api_key, iam=iam, region=region, timeout_s=timeout_s) as client:
        job = client.cancel(job_id)
    if job.status != "canceled":
        raise CommandError(f"job {job.id} had ended before: {describe(job)}")
    say(f"job {job.id} is canceled")
