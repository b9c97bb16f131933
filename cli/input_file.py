"""What a user names on the command line as a model's input: read, and made into an infer call."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.output import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.client import Laneway
    from cli.client.protocol import Call
    from cli.payload import Form

InputOption = Annotated[
    str | None,
    typer.Option(
        "--input",
        help="A file, or - for stdin: a protocol request, or {input: values}, as JSON.",
    ),
]
TextOption = Annotated[
    bool, typer.Option("--text", help="The input is lines of text, one element each.")
]
FileOption = Annotated[
    Path | None, typer.Option(help="A file of bytes, an image for example, as one element.")
]
VersionOption = Annotated[str | None, typer.Option(help="Default: the model's default.")]
BinaryOption = Annotated[
    bool, typer.Option("--binary", help="Tensors travel in binary, both ways.")
]


def read_input(source: str | None, file: Path | None, *, text: bool) -> tuple[Form, bytes]:
    """The form and the bytes of what was named; a usage error where it is not one thing."""
    if text and file is not None:
        raise typer.BadParameter("--text describes --input, and --file is the input: choose one")
    form: Form = "bytes" if file is not None else "text" if text else "json"
    return form, _bytes(source, file)


def input_call(
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


_NOT_OF_THE_INPUT: Final = frozenset(
    {"latency_class", "metadata", "priority", "result_alias", "timeout_s", "ttl_s", "webhook"}
)
"""Members of a submission that a refusal may name; what the model takes is no help then."""


@contextmanager
def showing_signature(client: Laneway, model: str, version: str | None) -> Iterator[None]:
    """Adds what the model takes to a refusal of the input."""
    from cli.client import BadRequestError, InputError
    from cli.payload import signature_text

    try:
        yield
    except (BadRequestError, InputError) as error:
        if isinstance(error, BadRequestError) and error.field in _NOT_OF_THE_INPUT:
            raise
        signature = signature_text(client.model(model, version))
        raise CommandError(f"{error}\n{signature}") from error


def _bytes(source: str | None, file: Path | None) -> bytes:
    if (source is None) == (file is None):
        raise typer.BadParameter("pass exactly one of --input FILE, --input - and --file FILE")
    if source == "-":
        return sys.stdin.buffer.read()
    path = file or Path(source or "")
    try:
        return path.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"cannot read {path}: {error.strerror}") from error


def _asking_binary(request: dict[str, Any]) -> bytes:
    parameters = (request.get("parameters") or {}) | {"binary_data_output": True}
    return json.dumps(request | {"parameters": parameters}).encode()
