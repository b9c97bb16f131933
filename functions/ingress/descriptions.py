"""What the protocol's metadata calls answer, made from the catalog; no address, no AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.catalog import Model, ModelVersion, TensorSpec

VERSION: Final = "0.1.0"
"""Of the service; a test holds it equal to the project's."""
PLATFORM: Final = "onnx_onnxv1"
CONFIG_PLATFORM: Final = "onnxruntime_onnx"
EXTENSIONS: Final = ("binary_tensor_data", "model_configuration", "model_repository")
READY: Final = "READY"
UNAVAILABLE: Final = "UNAVAILABLE"


def server_metadata() -> dict[str, Any]:
    """`GET /v2`."""
    return {"name": "laneway", "version": VERSION, "extensions": list(EXTENSIONS)}


def model_metadata(model: Model, version: ModelVersion) -> dict[str, Any]:
    """`GET /v2/models/{m}[/versions/{v}]`."""
    return {
        "name": model.name,
        "versions": list(model.versions),
        "platform": PLATFORM,
        "inputs": [_tensor(item) for item in version.inputs],
        "outputs": [_tensor(item) for item in version.outputs],
    }


def model_config(model: Model, version: ModelVersion) -> dict[str, Any]:
    """`GET /v2/models/{m}[/versions/{v}]/config`, in the form of Triton's ModelConfig.

    `max_batch_size` 0 means that the shapes are whole: the batch axis is one of the dims.
    """
    return {
        "name": model.name,
        "platform": CONFIG_PLATFORM,
        "backend": "onnxruntime",
        "max_batch_size": 0,
        "version_policy": {"specific": {"versions": list(model.versions)}},
        "input": [_config_tensor(item) for item in version.inputs],
        "output": [_config_tensor(item) for item in version.outputs],
        "default_model_filename": version.files[0].path,
    }


def index_entry(model: str, version: str, *, reason: str | None) -> dict[str, str]:
    """One version in `POST /v2/repository/index`; `reason` None: it is ready."""
    state = READY if reason is None else UNAVAILABLE
    return {"name": model, "version": version, "state": state, "reason": reason or ""}


def classes(names: Iterable[str]) -> str:
    """Latency classes for a message."""
    return ", ".join(repr(name) for name in names)


def _tensor(item: TensorSpec) -> dict[str, Any]:
    return {"name": item.name, "datatype": item.datatype, "shape": list(item.shape)}


def _config_tensor(item: TensorSpec) -> dict[str, Any]:
    datatype = "STRING" if item.datatype == "BYTES" else item.datatype
    return {"name": item.name, "data_type": f"TYPE_{datatype}", "dims": list(item.shape)}
