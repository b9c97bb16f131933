"""`laneway infer`: run a model on what a file holds and show the answer to a person or a program."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import CommandError, answer, answer_table, say

if TYPE_CHECKING:
    import httpx

    from cli.client import Laneway, Result, Tensor
    from cli.client.protocol import Call
    from cli.payload import Form

SHOWN_WHOLE_MAX = 24
SHOWN_OF_LARGE = 8


def infer(
    model: Annotated[str, typer.Argument(help="The model's name.")],
    *,
    source: Annotated[
        str | None,
        typer.Option(
            "--input",
            help="A file, or - for stdin: a protocol request, or {input: values}, as JSON.",
        ),
    ] = None,
    text: Annotated[
        bool, typer.Option("--text", help="The input is lines of text, one element each.")
    ] = False,
    file: Annotated[
        Path | None, typer.Option(help="A file of bytes, an image for example, as one element.")
    ] = None,
    version: Annotated[str | None, typer.Option(help="Default: the model's default.")] = None,
    endpoint: Annotated[str | None, typer.Option(envvar="LANEWAY_ENDPOINT")] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar="LANEWAY_API_KEY", help="Better kept in the environment.")
    ] = None,
    iam: Annotated[
        bool, typer.Option("--iam", help="Sign with the AWS identity of this machine.")
    ] = False,
    region: Annotated[str | None, typer.Option(help="AWS region, for --iam.")] = None,
    binary: Annotated[
        bool, typer.Option("--binary", help="Tensors travel in binary, both ways.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option(help="Write the answer's body to this file, as it came.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer's JSON.")] = False,
    timeout_s: Annotated[float, typer.Option(help="Longest wait for the service.")] = 60.0,
) -> None:
    """Run a model on a file's input and show the answer."""
    from cli.client import BadRequestError, InputError, Laneway

    if as_json and binary:
        raise typer.BadParameter("--json shows an answer in JSON, and --binary asks for none")
    if text and file is not None:
        raise typer.BadParameter("--text describes --input, and --file is the input: choose one")
    form: Form = "bytes" if file is not None else "text" if text else "json"
    content = _read(source, file)
    with Laneway(
        endpoint, api_key=None if iam else api_key, iam=iam, region=region, timeout_s=timeout_s
    ) as client:
        try:
            response = client.send(_call(client, model, version, form, content, binary=binary))
        except (BadRequestError, InputError) as error:
            raise CommandError(f"{error}\n{_signature(client, model, version)}") from error
    _show(response, output=output, as_json=as_json)


def _read(source: str | None, file: Path | None) -> bytes:
    if (source is None) == (file is None):
        raise typer.BadParameter("pass exactly one of --input FILE, --input - and --file FILE")
    if source == "-":
        return sys.stdin.buffer.read()
    path = file or Path(source or "")
    try:
        return path.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"cannot read {path}: {error.strerror}") from error


def _call(
    client: Laneway, model: str, version: str | None, form: Form, content: bytes, *, binary: bool
) -> Call:
    """The call; a request that is the protocol's already goes out as it is."""
    from cli.client.protocol import framed, infer_call
    from cli.payload import parse_input, request_in, tensors_from

    value = parse_input(content) if form == "json" else None
    request = request_in(value)
    if request is not None:
        as_it_is = content if request is value else json.dumps(request).encode()
        return framed(model, _asking_binary(request) if binary else as_it_is, version=version)
    tensors = tensors_from(form, content, client.model(model, version))
    if binary:
        tensors = {name: replace(t, data=t.packed()) for name, t in tensors.items()}
    return infer_call(model, tensors, version=version, binary=binary)


def _asking_binary(request: dict[str, Any]) -> bytes:
    parameters = (request.get("parameters") or {}) | {"binary_data_output": True}
    return json.dumps(request | {"parameters": parameters}).encode()


def _signature(client: Laneway, model: str, version: str | None) -> str:
    from cli.payload import signature_text

    return signature_text(client.model(model, version))


def _show(response: httpx.Response, *, output: Path | None, as_json: bool) -> None:
    from cli.client.base import result_in

    if output is not None:
        output.write_bytes(response.content)
        say(f"{len(response.content)} bytes written to {output}")
        return
    if as_json:
        answer(response.text)
        return
    _show_result(result_in(response))


def _show_result(result: Result) -> None:
    say(f"{result.model_name} version {result.model_version}")
    rows = [
        (name, tensor.datatype, str(list(tensor.shape)), _values(tensor))
        for name, tensor in result.outputs.items()
    ]
    answer_table(("output", "datatype", "shape", "values"), rows)


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
