"""Tensors as the protocol writes them in JSON: named, typed, shaped, and not yet arrays.

Purely declarative: these models are exported as core schemas (`shared.schema.compile`), so a rule
that needs a Python function has no place here. What a shape means for the data behind it is
checked where the data is read, in `shared.inference.codec`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt
from pydantic.types import StrictStr

from shared.limits import NAME_LENGTH_MAX, TENSOR_RANK_MAX
from shared.schema.datatypes import Datatype  # noqa: TC001  Pydantic reads it at run time

DIMENSION_MAX = 2**63 - 1
"""A dimension is a signed 64-bit integer in ONNX."""

PARAMETERS_MAX = 256
"""Parameters of one request, input or output."""

Scalar = StrictBool | StrictInt | StrictFloat | StrictStr
Parameters = Annotated[Mapping[str, Scalar], Field(max_length=PARAMETERS_MAX, fail_fast=True)]
"""The protocol allows strings, numbers and booleans as values, nothing nested."""

Name = Annotated[str, Field(strict=True, min_length=1, max_length=NAME_LENGTH_MAX)]
Dimension = Annotated[int, Field(strict=True, ge=0, le=DIMENSION_MAX)]
DynamicDimension = Annotated[int, Field(strict=True, ge=-1, le=DIMENSION_MAX)]
Shape = Annotated[tuple[Dimension, ...], Field(max_length=TENSOR_RANK_MAX, fail_fast=True)]


class ProtocolModel(BaseModel):
    """Frozen; members that the protocol does not name are passed over, as its clients expect."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class InputTensor(ProtocolModel):
    """One input. `data` is kept as it came (flat or nested lists); binary data is in the body's tail."""

    name: Name
    datatype: Datatype
    shape: Shape
    parameters: Parameters | None = None
    data: Any = Field(
        default=None,
        description="Elements in row-major order, flat or nested; absent when the data is binary.",
    )


class RequestedOutput(ProtocolModel):
    """One output that the caller wants; `parameters.binary_data` chooses its form."""

    name: Name
    parameters: Parameters | None = None


class OutputTensor(ProtocolModel):
    """One output of an answer; `data` is absent when it is binary."""

    name: Name
    datatype: Datatype
    shape: Shape
    parameters: Parameters | None = None
    data: Any = Field(default=None, description="Elements in row-major order, flat.")


class TensorMetadata(ProtocolModel):
    """An input or output as a model declares it; -1 in `shape` is a dynamic dimension."""

    name: Name
    datatype: Datatype
    shape: tuple[DynamicDimension, ...]
