"""`laneway batches`: run a model over a file of lines; show, cancel and retry such batches."""

from __future__ import annotations

from itertools import islice
from pathlib import Path  # noqa: TC003  typer reads it at run time
from typing import TYPE_CHECKING, Annotated, cast

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

if TYPE_CHECKING:
    from cli.client import Batch, Laneway
    from cli.client.batches import BatchFileName

app = typer.Typer(no_args_is_help=True, help="Run a model over a file of lines.")


def _file_name(value: str) -> str:
    from cli.client.batches import FILES

    if value not in FILES:
        raise typer.BadParameter(f"use one of {', '.join(FILES)}")
    return value


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
    if output is not None and not wait:
        raise CommandError("--output needs --wait: there is nothing to write before it has ended")
    with connect(endpoint, api_key=api_key, iam=iam, region=region, timeout_s=timeout_s) as client:
        batch = client.submit_batch(
            model, file, version=version, ttl_s=ttl_s, not_before=not_before, window=window
        )
        answer(batch.id)
        if not wait:
            return
        batch = _followed(client, batch)
        if output is not None and "output" in batch.files:
            client.download_batch(batch, output)
    _tell(batch)


def _followed(client: Laneway, batch: Batch) -> Batch:
    from cli.batches import follow

    return follow(client, batch)


def _tell(batch: Batch) -> None:
    """How a batch ended; raises `CommandError` where it did not succeed as a whole."""
    said = f"{batch.counts.succeeded} lines answered, {batch.counts.failed} failed"
    if batch.status != "succeeded":
        reason = f": {batch.error.error}" if batch.error is not None else f" with {said}"
        raise CommandError(f"the batch {batch.status}{reason}")
    say(said)
    if batch.counts.failed:
        say(f"why: laneway batches download {batch.id} --file errors --output errors.jsonl")
        say(f"run them again: laneway batches retry {batch.id}")


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
    from cli.batches import show_table

    with connect(endpoint, api_key=api_key, iam=iam, region=region, timeout_s=timeout_s) as client:
        found = list(islice(client.batches(), limit))
    if not found:
        say("no batch")
        return
    show_table(found)


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
    from dataclasses import asdict

    with connect(endpoint, api_key=api_key, iam=iam, region=region, timeout_s=timeout_s) as client:
        answer_json(asdict(client.batch(batch_id)))


@app.command()
def download(
    batch_id: BatchArgument,
    *,
    file: Annotated[
        str, typer.Option(callback=_file_name, help="output, errors, refused or manifest.")
    ] = "output",
    output: Annotated[Path, typer.Option(help="Where to write it.")],
    endpoint: EndpointOption = None,
    api_key: ApiKeyOption = None,
    iam: IamOption = False,
    region: IamRegionOption = None,
    timeout_s: TimeoutOption = 60.0,
) -> None:
    """Write a file of a batch that has ended: its answers, or why lines have none."""
    with connect(endpoint, api_key=api_key, iam=iam, region=region, timeout_s=timeout_s) as client:
        client.download_batch(batch_id, output, file=cast("BatchFileName", file))
    say(f"{output.stat().st_size} bytes written to {output}")


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
    with connect(endpoint, api_key=api_key, iam=iam, region=region, timeout_s=timeout_s) as client:
        batch = client.cancel_batch(batch_id)
    say(f"batch {batch.id} is {batch.status}")


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
    with connect(endpoint, api_key=api_key, iam=iam, region=region, timeout_s=timeout_s) as client:
        batch = client.retry_batch(batch_id)
        answer(batch.id)
        if wait:
            batch = _followed(client, batch)
    if wait:
        _tell(batch)
