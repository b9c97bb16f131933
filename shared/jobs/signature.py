"""Holds a request against a model's signature as far as that needs no arrays.

Names, datatypes, shapes, counts of JSON elements, sizes of binary data. What the elements
themselves are is found when the job runs, and ends it with the realtime call's typed failure.
"""

from __future__ import annotations

from itertools import chain
from math import prod
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from shared.errors import InvalidRequestError, SignatureError
from shared.schema.datatypes import DATATYPES
from shared.schema.refusals import refusal
from shared.schema.request import InferenceRequest
from shared.schema.wire import open_body, parse_json, split_tail, wants_binary

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shared.catalog import ModelVersion, TensorSpec
    from shared.schema.tensor import InputTensor

_DEPTH_MAX: Final = 64


def check_body(body: bytes, version: ModelVersion, *, header_length: int | None) -> None:
    """Raise the `CallerError` that the realtime call would answer, if it can be known."""
    frame = open_body(body, header_length=header_length)
    if frame.raw:
        _check_raw(version)
        return
    try:
        request = InferenceRequest.model_validate(parse_json(frame.json))
    except ValidationError as error:
        raise refusal(error) from error
    _check_inputs(request.inputs, frame.tail, version)
    _check_outputs(request, version)


def _check_raw(version: ModelVersion) -> None:
    if len(version.inputs) != 1:
        raise InvalidRequestError(
            f"a raw binary request (header length 0) carries one input; model {version.model!r} "
            f"takes {len(version.inputs)}: {_quoted(spec.name for spec in version.inputs)}"
        )


def _check_inputs(inputs: Sequence[InputTensor], tail: memoryview, version: ModelVersion) -> None:
    """In the order of the realtime call, so that of several faults the same one is told."""
    known = {spec.name: spec for spec in version.inputs}
    seen: set[str] = set()
    parts = split_tail(inputs, tail) if tail else None
    for index, tensor in enumerate(inputs):
        spec = known.get(tensor.name)
        if spec is None or tensor.name in seen:
            fault = f"is not an input of {version.model!r}" if spec is None else "came twice"
            raise SignatureError(
                f"input {tensor.name!r} {fault}; the model takes {_quoted(known)}",
                field=f"inputs[{index}].name",
            )
        seen.add(tensor.name)
        parts = split_tail(inputs, tail) if parts is None else parts
        _check_tensor(tensor, parts[index], spec, index)
    missing = [name for name in known if name not in seen]
    if missing:
        raise SignatureError(
            f"input {_quoted(missing)} is missing; model {version.model!r} takes {_quoted(known)}",
            field="inputs",
        )


def _check_tensor(
    tensor: InputTensor, part: memoryview | None, spec: TensorSpec, index: int
) -> None:
    at = f"inputs[{index}]"
    if tensor.datatype != spec.datatype:
        raise SignatureError(
            f"input {spec.name!r} came as {tensor.datatype}; the model takes {spec.datatype}",
            field=f"{at}.datatype",
        )
    if not _fits(tensor.shape, spec.shape):
        raise SignatureError(
            f"input {spec.name!r} has shape {list(tensor.shape)}; the model takes "
            f"{list(spec.shape)} (-1 is any size)",
            field=f"{at}.shape",
        )
    count = prod(tensor.shape)
    if part is None:
        _check_json(tensor, count, at)
    else:
        _check_binary(tensor, count, len(part), at)


def _fits(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    return len(shape) == len(wanted) and all(
        want in (-1, size) for size, want in zip(shape, wanted, strict=True)
    )


def _check_json(tensor: InputTensor, count: int, at: str) -> None:
    if not DATATYPES[tensor.datatype].json:
        raise SignatureError(
            f"input {tensor.name!r}: {tensor.datatype} travels as binary data only; send it with "
            "parameters.binary_data_size",
            field=f"{at}.data",
        )
    got = _leaves(tensor.data)
    if got != count:
        raise SignatureError(
            f"input {tensor.name!r} has shape {list(tensor.shape)}, which is {count} elements, "
            f"but its data has {got}",
            field=f"{at}.data",
        )


def _leaves(data: Any) -> int:
    """How many values are in nested lists; a plain value is one."""
    level = [data]
    count = 0
    for _ in range(_DEPTH_MAX):
        lists = [item for item in level if isinstance(item, list)]
        count += len(level) - len(lists)
        if not lists:
            break
        level = list(chain.from_iterable(lists))
    return count


def _check_binary(tensor: InputTensor, count: int, size_bytes: int, at: str) -> None:
    item_bytes = DATATYPES[tensor.datatype].size_bytes
    if item_bytes is not None and size_bytes != count * item_bytes:
        raise SignatureError(
            f"input {tensor.name!r} has shape {list(tensor.shape)}, which is "
            f"{count * item_bytes} bytes of its datatype, but {size_bytes} came",
            field=f"{at}.parameters.binary_data_size",
        )


def _check_outputs(request: InferenceRequest, version: ModelVersion) -> None:
    known = [spec.name for spec in version.outputs]
    seen: set[str] = set()
    for index, output in enumerate(request.outputs or ()):
        if output.name not in known or output.name in seen:
            fault = "is asked for twice" if output.name in seen else "is not an output of the model"
            raise SignatureError(
                f"output {output.name!r} {fault}; it gives {_quoted(known)}",
                field=f"outputs[{index}].name",
            )
        if output.parameters and "classification" in output.parameters:
            raise InvalidRequestError(
                "the classification extension is not supported here",
                field=f"outputs[{index}].parameters.classification",
            )
        wants_binary(request, output)
        seen.add(output.name)
    wants_binary(request)


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
