"""`laneway batches`: run a model over a file of lines; show, cancel and retry such batches."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  typer reads it at run time
from typing import Annotated

import typer

from cli.connection import (
    ApiKeyOption,
    EndpointOption,
    IamOption,
    IamRegionOption,
    TimeoutOption,
    connect,
)
from cli.output import CommandError, answer, answer_json, say

app = typer.Typer(no_args_is_help=True, help="Run a model over a file of lines.")

BatchArgument = Annotated[str, typer.Argument(metavar="ID", help="The batch's id.")]


@app.command()
def submit(
    file: Annotated[str, typer.Argument(help="JSON lines: a file, or s3://... .")],
    *,
    model: Annotated[str, typer.Option(help="The model of every line.")],
    version: Annotated[str | None, typer.Option(help="Default: the model's default.")] = None,
    ttl_s: Annotated[int | None, typer.Option(help="How long it may take.")] = None,
    not_before: Annotated[str | None, typer.Option(help="ISO 8601: when it may begin.")] = None,
    window: Annotated[str | None, typer.Option(help="Hours in UTC, 22:00-06:00.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until it has ended.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="With --wait: write the answers to this file.")
    ] = None,
    endpoint: EndpointOption = None,
    api_key: ApiKeyOption = None,
    iam: IamOption = False,
    region: IamRegionOption = None,
    timeout_s: TimeoutOption = 60.0,
) -> None:
    """Run a model over every line of a file; stdout gets the batch's id."""
    from cli import batches

    if output is not None and not wait:
        raise CommandError("--output needs --wait: there is nothing to write before it has ended")
    versioned = "" if version is None else f"/versions/{version}"
    said = {"ttl_s": ttl_s, "not_before": not_before, "window": window}
    members = {name: value for name, value in said.items() if value is not None}
    with connect(endpoint, api_key=api_key, iam=iam, region=region, timeout_s=timeout_s) as client:
        batch = batches.submit(
            client, file, {"endpoint": f"/v2/models/{model}{versioned}/infer", **members}
        )
        answer(batch["id"])
        if not wait:
            return
        batch = batches.follow(client, batch)
        if output is not None and batch["files"]["output"]:
            batches.download(client, batch, "output", output)
    _tell(batch)


def _tell(batch: dict[str, object]) -> None:
    """How a batch ended; raises `CommandError` where it did not succeed as a whole."""
    counts = batch["counts"]
    assert isinstance(counts, dict)  # noqa: S101  of our own service
    said = f"{counts['succeeded']} lines answered, {counts['failed']} failed"
    if batch["status"] != "succeeded":
        error = batch["error"]
        reason = f": {error['error']}" if isinstance(error, dict) else f" with {said}"
        raise CommandError(f"the batch {batch['status']}{reason}")
    say(said)
    if counts["failed"]:
        say(f"run the failed lines again with: laneway batches retry {batch['id']}")


@app.command("list")
def list_(
    *,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    endpoint: EndpointOption = None,
    api_key: ApiKeyOption = None,
    iam: IamOption = False,
    region: IamRegionOption = None,
    timeout_s: TimeoutOption = 60.0,
) -> None:
    """List your batches, newest first."""
    from cli import batches

    with connect(endpoint, api_key=api_key, iam=iam, region=region, timeout_s=timeout_s) as client:
        found = batches.newest(client, limit)
    if not found:
        say("no batch")
        return
    batches.show_table(found)


@app.command()
def show(
    batch_id: BatchArgument,
    *,
    endpoint: EndpointOption = None,
    api_key: ApiKeyOption = None,
    iam: IamOption = False,
    region: IamRegionOption = None,
    timeout_s: TimeoutOption = 60.0,
) -> None:
    """Show all that is known of a batch, as JSON."""
    from cli import batches

    with connect(endpoint, api_key=api_key, iam=iam, region=region, timeout_s=timeout_s) as client:
        answer_json(batches.show(client, batch_id))


@app.command()
def cancel(
    batch_id: BatchArgument,
    *,
    endpoint: EndpointOption = None,
    api_key: ApiKeyOption = None,
    iam: IamOption = False,
    region: IamRegionOption = None,
    timeout_s: TimeoutOption = 60.0,
) -> None:
    """Cancel a batch; what is done of it is joined and kept."""
    from cli import batches

    with connect(endpoint, api_key=api_key, iam=iam, region=region, timeout_s=timeout_s) as client:
        batch = batches.cancel(client, batch_id)
    say(f"batch {batch['id']} is {batch['status']}")


@app.command()
def retry(
    batch_id: BatchArgument,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Until it has ended.")] = False,
    endpoint: EndpointOption = None,
    api_key: ApiKeyOption = None,
    iam: IamOption = False,
    region: IamRegionOption = None,
    timeout_s: TimeoutOption = 60.0,
) -> None:
    """Run the failed lines of a batch again, as a new batch; stdout gets its id."""
    from cli import batches

    with connect(endpoint, api_key=api_key, iam=iam, region=region, timeout_s=timeout_s) as client:
        batch = batches.retry(client, batch_id)
        answer(batch["id"])
        if wait:
            batch = batches.follow(client, batch)
    if wait:
        _tell(batch)
