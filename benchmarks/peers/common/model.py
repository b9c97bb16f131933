"""The model of every peer: one session made at import, one function from request to answer.

The same file, the same session options, the same outputs fetched and the same transform as ours, so
that the peers differ from us only in what stands around the model.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
from wire import InferenceRequest, InferenceResponse, OutputTensor

try:
    import transform
except ModuleNotFoundError:
    transform = None

MODEL_NAME = (Path(__file__).parent / "MODEL_NAME").read_text()
_OUTPUTS = json.loads((Path(__file__).parent / "OUTPUTS.json").read_text())
fetched, _public = _OUTPUTS["fetched"], _OUTPUTS["public"]
_DTYPES = {
    "FP32": np.float32,
    "FP64": np.float64,
    "INT32": np.int32,
    "INT64": np.int64,
    "BYTES": object,
}
_DATATYPES = {"float32": "FP32", "float64": "FP64", "int64": "INT64", "object": "BYTES"}

_options = ort.SessionOptions()
_options.intra_op_num_threads = 1
_options.inter_op_num_threads = 1
session = ort.InferenceSession(
    str(Path(__file__).parent / "model.onnx"), _options, providers=["CPUExecutionProvider"]
)


def infer(request: InferenceRequest) -> InferenceResponse:
    feeds = prepare(request)
    return finish(feeds, session.run(fetched, feeds), request.id)


def prepare(request: InferenceRequest) -> dict[str, np.ndarray]:
    """What the graph takes."""
    inputs = {
        tensor.name: np.array(tensor.data, dtype=_DTYPES[tensor.datatype]).reshape(tensor.shape)
        for tensor in request.inputs
    }
    if transform is None:
        return inputs
    return transform.preprocess(
        {
            name: np.array([str(item).encode() for item in array.ravel()], dtype=object).reshape(
                array.shape
            )
            if array.dtype == object
            else array
            for name, array in inputs.items()
        }
    )


def finish(
    feeds: dict[str, np.ndarray], outputs: list[np.ndarray], request_id: str | None = None
) -> InferenceResponse:
    """The answer made of what the graph gave for `feeds`."""
    if hasattr(transform, "postprocess"):
        named = transform.postprocess(dict(zip(fetched, outputs, strict=True)), feeds)
    else:
        named = dict(zip(_public, outputs, strict=True))
    return InferenceResponse(
        model_name=MODEL_NAME,
        id=request_id,
        outputs=[
            OutputTensor(
                name=name,
                shape=list(array.shape),
                datatype=_DATATYPES[array.dtype.name],
                data=array.ravel().tolist(),
            )
            for name, array in named.items()
        ],
    )
