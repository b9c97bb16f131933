"""Turns what a user has in a file into a model's inputs: protocol JSON, named values, text or bytes.

It reads no file and sends nothing; every refusal names what the model takes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

from cli.client import InputError, Tensor

if TYPE_CHECKING:
    from cli.client import ModelMetadata, TensorSpec

Form = Literal["json", "text", "bytes"]


def is_protocol_request(value: Any) -> TypeGuard[dict[str, Any]]:
    """Whether parsed JSON is a whole request: an object whose `inputs` lists named tensors."""
    inputs = value.get("inputs") if isinstance(value, dict) else None
    return isinstance(inputs, list) and all(
        isinstance(item, dict) and "name" in item for item in inputs
    )


def parse_input(content: bytes) -> Any:
    """The JSON in an input file; `InputError` shows where it breaks."""
    try:
        return json.loads(content)
    except UnicodeDecodeError as error:
        raise InputError(
            "the input is not text: pass an image or another file of bytes with --file"
        ) from error
    except ValueError as error:
        raise InputError(
            f"the input is not JSON ({error}): pass lines of text with --text"
        ) from error


def request_in(value: Any) -> dict[str, Any] | None:
    """The protocol's request that parsed JSON is, or that a golden file holds; None: it is neither."""
    if is_protocol_request(value):
        return value
    golden = value.get("request") if isinstance(value, dict) else None
    return golden if is_protocol_request(golden) else None


def tensors_from(form: Form, content: bytes, model: ModelMetadata) -> dict[str, Tensor]:
    """The model's inputs from a file's content of the given form."""
    if form == "json":
        return _from_json(parse_input(content), model)
    if form == "text":
        return _elements(_lines(content), model)
    return _elements([content], model)


def signature_text(model: ModelMetadata) -> str:
    """What the model takes and gives, in lines for people."""
    lines = [f"{model.name} takes:", *(f"  {spec}" for spec in model.inputs)]
    return "\n".join([*lines, "and gives:", *(f"  {spec}" for spec in model.outputs)])


def _from_json(value: Any, model: ModelMetadata) -> dict[str, Tensor]:
    """Named values `{input: values}`, or bare values for a model with one input."""
    if not isinstance(value, dict):
        if len(model.inputs) != 1:
            raise InputError(f"{model.name} has {len(model.inputs)} inputs: name them in an object")
        value = {model.inputs[0].name: value}
    specs = {spec.name: spec for spec in model.inputs}
    unknown, missing = value.keys() - specs.keys(), specs.keys() - value.keys()
    if unknown or missing:
        raise InputError(
            f"input names do not fit {model.name}: "
            f"unknown {sorted(unknown) or 'none'}, missing {sorted(missing) or 'none'}"
        )
    return {name: Tensor.of(specs[name].datatype, values) for name, values in value.items()}


def _lines(content: bytes) -> list[str]:
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError as error:
        raise InputError("the input is not UTF-8 text: pass it with --file") from error
    if not lines:
        raise InputError("the input has no line of text")
    return lines


def _elements(elements: list[Any], model: ModelMetadata) -> dict[str, Tensor]:
    """BYTES elements in the rank that the model wants: shape `(n,)`, `(n, 1)`, ... or `()`."""
    spec = _only_bytes_input(model)
    rank = len(spec.shape)
    shape = () if rank == 0 else (len(elements), *([1] * (rank - 1)))
    return {spec.name: Tensor("BYTES", shape, elements)}


def _only_bytes_input(model: ModelMetadata) -> TensorSpec:
    if len(model.inputs) == 1 and model.inputs[0].datatype == "BYTES":
        return model.inputs[0]
    raise InputError(f"{model.name} does not take text or bytes alone: pass JSON with --input")
