"""What the service says about itself and its models: the protocol's answers other than inference."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.schema.tensor import Name, ProtocolModel, TensorMetadata

PLATFORM = "onnx_onnxv1"
"""The protocol's name for an ONNX model, used in the metadata."""

ModelState = Literal["READY", "UNAVAILABLE"]


class ServerMetadata(ProtocolModel):
    """The answer to `GET /v2`."""

    name: str
    version: str
    extensions: tuple[str, ...]


class LiveBody(ProtocolModel):
    """The answer to `GET /v2/health/live`."""

    live: bool


class ReadyBody(ProtocolModel):
    """The answer to `GET /v2/health/ready`; the specification's text names `live` here too."""

    live: bool
    ready: bool


class ModelReadyBody(ProtocolModel):
    """The answer to `GET /v2/models/{model}[/versions/{version}]/ready`."""

    name: Name
    ready: bool


class ModelList(ProtocolModel):
    """The answer to `GET /v2/models`: the names of the models."""

    models: tuple[Name, ...]


class ModelMetadata(ProtocolModel):
    """The answer to `GET /v2/models/{model}[/versions/{version}]`."""

    name: Name
    versions: tuple[str, ...] = ()
    platform: str = PLATFORM
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


class ConfigTensor(ProtocolModel):
    """One input or output in a model's configuration; -1 in `dims` is a dynamic dimension."""

    name: Name
    data_type: str = Field(pattern=r"^TYPE_[A-Z0-9]+$")
    dims: tuple[int, ...]


class VersionList(ProtocolModel):
    """The versions that are served."""

    versions: tuple[str, ...]


class VersionPolicy(ProtocolModel):
    """How the served versions are chosen: by naming them."""

    specific: VersionList


class ModelConfig(ProtocolModel):
    """The answer to `GET /v2/models/{model}[/versions/{version}]/config`, in Triton's form.

    `max_batch_size` is 0, which in Triton means that `dims` are whole shapes.
    """

    name: Name
    platform: str = "onnxruntime_onnx"
    backend: str = "onnxruntime"
    version_policy: VersionPolicy
    max_batch_size: int = 0
    input: tuple[ConfigTensor, ...]
    output: tuple[ConfigTensor, ...]
    default_model_filename: str = "model.onnx"


class RepositoryIndexRequest(ProtocolModel):
    """The body of `POST /v2/repository/index`; an empty body is the same as `{}`."""

    ready: bool = Field(default=False, description="List only what is ready.")


class RepositoryIndexEntry(ProtocolModel):
    """One version of one model in the answer to `POST /v2/repository/index`, which is an array."""

    name: Name
    version: str
    state: ModelState
    reason: str = ""


class ErrorBody(ProtocolModel):
    """Every refusal and failure that the service itself answers with."""

    error: str = Field(description="What is wrong, what came and what was expected.")
    code: str = Field(description="Stable; for programs.")
    request_id: str | None = Field(default=None, description="The log has it too.")
    field: str | None = Field(
        default=None, description="Where in the request, e.g. `inputs[0].shape`."
    )
