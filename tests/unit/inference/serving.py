"""Declares models as a catalog does, and asks them."""

from __future__ import annotations

import hashlib
import time

from shared.catalog import FileSpec, Model, ModelVersion, SessionSpec, TensorSpec
from shared.inference.pipeline import infer
from shared.schema.request import InferenceRequest
from tests.unit.inference.onnx_graphs import ONNX_TYPES


def lock(path):
    data = path.read_bytes()
    return FileSpec(path.name, hashlib.sha256(data).hexdigest(), len(data))


def declare(root, name, *, graph, files=("model.onnx",), **settings):
    """The catalog's entry of a model whose files are in `root/<name>/1`."""
    folder = root / name / "1"
    inputs, outputs = graph
    version = ModelVersion(
        model=name,
        version="1",
        folder=f"{name}/1",
        files=tuple(lock(folder / file) for file in files),
        graph_inputs=inputs,
        graph_outputs=outputs,
        inputs=settings.pop("inputs", inputs),
        outputs=settings.pop("outputs", outputs),
        row_independent=True,
        stacking_tolerance=0.0,
    )
    defaults = {
        "description": "",
        "pool": "shared",
        "latency_classes": ("realtime",),
        "compute": "cpu",
        "default_version": "1",
        "target_p99_ms": 100,
        "allow_non_finite": False,
        "transform": None,
        "session": SessionSpec(None, 1, "all", memory_arena=True),
        "max_batch_size": 64,
        "max_delay_ms": 10,
    }
    return Model(name=name, versions={"1": version}, **{**defaults, **settings}), version


def signature_of(built):
    """Inputs and outputs as the graph itself declares them."""
    names = {number: name for name, number in ONNX_TYPES.items()}

    def of(value):
        tensor = value.type.tensor_type
        shape = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim)
        return TensorSpec(value.name, names[tensor.elem_type], shape)

    return tuple(map(of, built.graph.input)), tuple(map(of, built.graph.output))


def ask(model, inputs, tail=b"", **members):
    """The answer of `model` to a request of these inputs."""
    request = InferenceRequest.model_validate({"inputs": inputs, **members})
    return infer(model, request, memoryview(tail), deadline_s=time.monotonic() + 30)


def tensor(data, shape, datatype="FP32", name="x"):
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def binary(size_bytes, shape, datatype="FP32", name="x"):
    parameters = {"binary_data_size": size_bytes}
    return {"name": name, "shape": shape, "datatype": datatype, "parameters": parameters}
