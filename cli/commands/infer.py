"""`laneway infer`: run a model on what a file holds and show the answer to a person or a program."""

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
from cli.tables import JsonOption, OutputOption, show_result

if TYPE_CHECKING:
    from pathlib import Path

    import httpx


def infer(
    model: Annotated[str, typer.Argument(help="The model's name.")],
    *,
    source: InputOption = None,
    text: TextOption = False,
    file: FileOption = None,
    version: VersionOption = None,
    endpoint: EndpointOption = None,
    api_key: ApiKeyOption = None,
    iam: IamOption = False,
    region: IamRegionOption = None,
    binary: BinaryOption = False,
    output: OutputOption = None,
    as_json: JsonOption = False,
    timeout_s: TimeoutOption = 60.0,
) -> None:
    """Run a model on a file's input and show the answer."""
    if as_json and binary:
        raise typer.BadParameter("--json shows an answer in JSON, and --binary asks for none")
    form, content = read_input(source, file, text=text)
    with (
        connect(endpoint, api_key=api_key, iam=iam, region=region, timeout_s=timeout_s) as client,
        showing_signature(client, model, version),
    ):
        response = client.send(input_call(client, model, version, form, content, binary=binary))
    _show(response, output=output, as_json=as_json)


def _show(response: httpx.Response, *, output: Path | None, as_json: bool) -> None:
    from cli.client.base import result_in

    if output is not None:
        output.write_bytes(response.content)
        say(f"{len(response.content)} bytes written to {output}")
        return
    if as_json:
        answer(response.text)
        return
    show_result(result_in(response))
