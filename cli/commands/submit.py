"""`laneway submit`: have a model run on what a file holds, later; prints the job's id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.connection import (
    ApiKeyOption,
    EndpointOption,
    IamOption,
    IamRegionOption,
    TimeoutOption,
    connect,
)
from cli.following import WaitForOption, show_end, wait_for
from cli.input_file import (
    BinaryOption,
    FileOption,
    InputOption,
    TextOption,
    VersionOption,
    input_call,
    read_input,
    showing_signature,
)
from cli.output import answer, say

if TYPE_CHECKING:
    from cli.client.jobs import JobClass


def _job_class(value: str) -> str:
    if value not in {"async", "batch"}:
        raise typer.BadParameter("use async or batch; laneway infer asks for an answer at once")
    return value


def submit(
    model: Annotated[str, typer.Argument(help="The model's name.")],
    *,
    source: InputOption = None,
    text: TextOption = False,
    file: FileOption = None,
    version: VersionOption = None,
    binary: BinaryOption = False,
    latency_class: Annotated[
        str, typer.Option("--class", callback=_job_class, help="async or batch.")
    ] = "async",
    high: Annotated[
        bool, typer.Option("--high", help="Before the others of its class; for models on a gpu.")
    ] = False,
    job_id: Annotated[
        str | None, typer.Option("--id", help="Your own id; the same again is the same job.")
    ] = None,
    ttl_s: Annotated[
        int | None, typer.Option(min=1, help="How long it may wait for its first run.")
    ] = None,
    run_timeout_s: Annotated[
        int | None, typer.Option(min=1, help="How long one run may take.")
    ] = None,
    webhook: Annotated[
        str | None, typer.Option(help="An https URL that is told when the job has ended.")
    ] = None,
    meta: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Metadata; may be repeated.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the job and show its result.")
    ] = False,
    wait_timeout_s: WaitForOption = 300.0,
    endpoint: EndpointOption = None,
    api_key: ApiKeyOption = None,
    iam: IamOption = False,
    region: IamRegionOption = None,
    timeout_s: TimeoutOption = 60.0,
) -> None:
    """Have a model run later; stdout gets the job's id, or with --wait the result."""
    from cli.client import JobInput

    metadata = dict(map(_pair, meta or ()))
    form, content = read_input(source, file, text=text)
    with connect(endpoint, api_key=api_key, iam=iam, region=region, timeout_s=timeout_s) as client:
        with showing_signature(client, model, version):
            job = client.submit_request(
                model,
                JobInput.of(input_call(client, model, version, form, content, binary=binary)),
                version=version,
                latency_class=_as_class(latency_class),
                priority="high" if high else None,
                id=job_id,
                ttl_s=ttl_s,
                timeout_s=run_timeout_s,
                webhook=webhook,
                metadata=metadata or None,
            )
        if wait:
            say(f"job {job.id} of {job.model} {job.version}")
            show_end(client, wait_for(client, job.id, timeout_s=wait_timeout_s))
            return
    say(f"{job.status} for {job.model} {job.version}; follow it with: laneway wait {job.id}")
    answer(job.id)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"--meta takes KEY=VALUE, not {text!r}")
    return name, value


def _as_class(value: str) -> JobClass:
    return "batch" if value == "batch" else "async"
