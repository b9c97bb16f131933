"""What a service and its models say of themselves, as values read from the protocol's JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from cli.client.errors import ProtocolError


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What a model says of one input or output; -1 is a dimension of any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name}: {self.datatype} [{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """A model's signature."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class ServerMetadata:
    """What the service says of itself."""

    name: str
    version: str
    extensions: tuple[str, ...]


def parse_json(body: bytes) -> dict[str, Any]:
    """A JSON object; anything else is a `ProtocolError`."""
    try:
        value = json.loads(body)
    except ValueError as error:
        raise ProtocolError(f"the answer is not JSON: {body[:200]!r}") from error
    if not isinstance(value, dict):
        raise ProtocolError(f"the answer is not a JSON object: {body[:200]!r}")
    return value


def parse_model(body: bytes) -> ModelMetadata:
    """The answer of a model's metadata call."""
    value = parse_json(body)
    return ModelMetadata(
        name=str(value.get("name", "")),
        versions=tuple(value.get("versions") or ()),
        platform=str(value.get("platform", "")),
        inputs=tuple(parse_spec(member) for member in value.get("inputs") or ()),
        outputs=tuple(parse_spec(member) for member in value.get("outputs") or ()),
    )


def parse_server(body: bytes) -> ServerMetadata:
    """The answer of `GET /v2`."""
    value = parse_json(body)
    extensions = tuple(value.get("extensions") or ())
    return ServerMetadata(str(value.get("name", "")), str(value.get("version", "")), extensions)


def parse_spec(member: dict[str, Any]) -> TensorSpec:
    """Name, datatype and shape of one declared tensor, or of one in an answer."""
    try:
        return TensorSpec(
            str(member["name"]), str(member["datatype"]), tuple(map(int, member["shape"]))
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolError(f"not a tensor's name, datatype and shape: {member!r:.200}") from error
