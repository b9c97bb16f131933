"""The Open Inference Protocol as the client speaks it: requests out, answers in. It sends nothing.

A body is a JSON header, then the binary tensors in the order of their members; the header's length
travels in `Inference-Header-Content-Length`, counted before compression.
"""

from __future__ import annotations

import gzip
import json
import math
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from cli.client.errors import InputError, ProtocolError
from cli.client.metadata import TensorSpec, parse_json, parse_spec
from cli.client.tensors import BINARY_ONLY, FIXED, Tensor, from_array, is_array

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HEADER_LENGTH: Final = "Inference-Header-Content-Length"


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP call, ready to be sent to an endpoint."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    may_redirect: bool = False
    """Whether an address where the answer lies is an answer."""


@dataclass(frozen=True, slots=True)
class Result:
    """A model's answer: tensors by output name, in the order in which they came."""

    model_name: str
    model_version: str | None
    id: str | None
    parameters: Mapping[str, Any]
    outputs: Mapping[str, Tensor]

    def __getitem__(self, output: str) -> Tensor:
        return self.outputs[output]


def model_path(model: str, version: str | None) -> str:
    """`/v2/models/{model}[/versions/{version}]`, quoted."""
    path = f"/v2/models/{quote(model, safe='')}"
    return path if version is None else f"{path}/versions/{quote(version, safe='')}"


def tensor_from(name: str, value: Any, specs: Mapping[str, TensorSpec]) -> Tensor:
    """What the caller passed for input `name` as a `Tensor`; lists take the datatype in `specs`."""
    if isinstance(value, Tensor):
        return value
    if is_array(value):
        return from_array(value)
    if name not in specs:
        known = "; ".join(map(str, specs.values())) or "nothing"
        raise InputError(f"the model has no input {name!r}; it takes {known}")
    return Tensor.of(specs[name].datatype, value)


def infer_call(
    model: str,
    tensors: Mapping[str, Tensor],
    *,
    version: str | None = None,
    outputs: Sequence[str] | None = None,
    binary: bool = True,
    request_id: str | None = None,
    compress: bool = False,
) -> Call:
    """The call that runs a model; `binary` asks for binary answers and sends packed tensors."""
    tail: list[bytes] = []
    header: dict[str, Any] = {} if request_id is None else {"id": request_id}
    header["inputs"] = [_member(name, tensor, binary, tail) for name, tensor in tensors.items()]
    if outputs is not None:
        header["outputs"] = [
            {"name": name, "parameters": {"binary_data": binary}} for name in outputs
        ]
    elif binary:
        header["parameters"] = {"binary_data_output": True}
    return framed(model, json.dumps(header).encode(), tail, version=version, compress=compress)


def framed(
    model: str,
    header: bytes,
    tail: Sequence[bytes] = (),
    *,
    version: str | None = None,
    compress: bool = False,
) -> Call:
    """The call for a JSON `header` and the binary tensors that follow it."""
    body = b"".join((header, *tail))
    headers = {"Content-Type": "application/octet-stream" if tail else "application/json"}
    if tail:
        headers[HEADER_LENGTH] = str(len(header))
    if compress:
        body = gzip.compress(body, compresslevel=1)
        headers |= {
            "Content-Encoding": "gzip",
            "Content-Type": "application/octet-stream",
            "Accept-Encoding": "gzip",
        }
    return Call("POST", f"{model_path(model, version)}/infer", headers, body)


def parse_result(body: bytes, header_length: str | None) -> Result:
    """The answer of an infer call; `header_length` is the answer's header of that name."""
    size = len(body)
    if header_length is not None:
        if not header_length.isdecimal() or int(header_length) > size:
            raise ProtocolError(f"{HEADER_LENGTH}: {header_length} in an answer of {size} bytes")
        size = int(header_length)
    header = parse_json(body[:size])
    outputs, start = {}, size
    for member in header.get("outputs") or []:
        tensor, start = _tensor(member, body, start)
        outputs[str(member["name"])] = tensor
    if start != len(body):
        raise ProtocolError(f"{len(body) - start} bytes are left over after the last tensor")
    return Result(
        model_name=str(header.get("model_name", "")),
        model_version=header.get("model_version"),
        id=header.get("id"),
        parameters=header.get("parameters") or {},
        outputs=outputs,
    )


def _member(name: str, tensor: Tensor, binary: bool, tail: list[bytes]) -> dict[str, Any]:
    """The header's member for one input; its bytes, if it travels packed, go to `tail`."""
    member: dict[str, Any] = {
        "name": name,
        "shape": list(tensor.shape),
        "datatype": tensor.datatype,
    }
    if _travels_packed(tensor, binary):
        tail.append(tensor.packed())
        return member | {"parameters": {"binary_data_size": len(tail[-1])}}
    return member | {"data": [_text(value) for value in tensor.flat()]}


def _travels_packed(tensor: Tensor, binary: bool) -> bool:
    """What has no JSON form is always packed; what came packed stays so when `binary`."""
    if tensor.datatype in BINARY_ONLY:
        return True
    if isinstance(tensor.data, bytes):
        return binary
    return any(isinstance(value, bytes) for value in tensor.data)


def _text(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise InputError("bytes that are not UTF-8 travel in binary only") from error


def _tensor(member: dict[str, Any], body: bytes, start: int) -> tuple[Tensor, int]:
    """The tensor of an output's `member`, and where the next binary tensor starts in `body`."""
    spec = parse_spec(member)
    size = (member.get("parameters") or {}).get("binary_data_size")
    if size is None:
        return Tensor(spec.datatype, spec.shape, Tensor.of("", member.get("data", [])).data), start
    data = body[start : start + size]
    if len(data) != size or not _fits(spec, size):
        raise ProtocolError(f"output {spec}: {len(data)} bytes came, {size} were announced")
    return Tensor(spec.datatype, spec.shape, data), start + size


def _fits(spec: TensorSpec, size_bytes: int) -> bool:
    if spec.datatype not in FIXED:
        return True
    element_bytes = struct.calcsize("<" + FIXED[spec.datatype][0])
    return size_bytes == element_bytes * math.prod(spec.shape)
