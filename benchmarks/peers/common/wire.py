"""The Open Inference Protocol's request and answer, as an ordinary Pydantic user writes them.

`data` is a plain list: a union of typed lists costs Pydantic many times more and would flatter us.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

Datatype = Literal["FP32", "FP64", "INT32", "INT64", "BYTES"]


class InputTensor(BaseModel):
    name: str
    shape: list[int]
    datatype: Datatype
    data: list[Any]


class InferenceRequest(BaseModel):
    id: str | None = None
    inputs: list[InputTensor]


class OutputTensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[Any]


class InferenceResponse(BaseModel):
    model_name: str
    id: str | None = None
    outputs: list[OutputTensor]
