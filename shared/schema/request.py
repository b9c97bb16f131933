"""The inference request and its answer, as the Open Inference Protocol writes them in JSON.

Purely declarative, for the reason given in `shared.schema.tensor`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.limits import REQUEST_ID_LENGTH_MAX, REQUEST_TENSORS_MAX
from shared.schema.tensor import (
    InputTensor,
    Name,
    OutputTensor,
    Parameters,
    ProtocolModel,
    RequestedOutput,
)

RequestId = Annotated[str, Field(strict=True, max_length=REQUEST_ID_LENGTH_MAX)]


class InferenceRequest(ProtocolModel):
    """One request, in every lane. Without `outputs` the caller gets all of the model's."""

    id: RequestId | None = None
    parameters: Parameters | None = None
    inputs: Annotated[
        tuple[InputTensor, ...],
        Field(min_length=1, max_length=REQUEST_TENSORS_MAX, fail_fast=True),
    ]
    outputs: (
        Annotated[
            tuple[RequestedOutput, ...], Field(max_length=REQUEST_TENSORS_MAX, fail_fast=True)
        ]
        | None
    ) = None


class InferenceResponse(ProtocolModel):
    """The answer to one request; `id` is the request's own."""

    model_name: Name
    model_version: str | None = None
    id: RequestId | None = None
    parameters: Parameters | None = None
    outputs: tuple[OutputTensor, ...]
