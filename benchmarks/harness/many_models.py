"""A repository of many models that are alike: three dense layers with 2 MB of weights.

They load and run quickly, and fifty of them fit into a package of Lambda.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FEATURES = 8
WIDTH = 700
ROWS_MAX = 8
POOL = "shared"


def name_of(number: int) -> str:
    """Of one of the models."""
    return f"dense-{number:02d}"


def request_of(number: int) -> dict[str, object]:
    """One row for one of the models, each another."""
    data = [round(0.1 * (number + place), 1) for place in range(FEATURES)]
    return {"inputs": [{"name": "x", "shape": [1, FEATURES], "datatype": "FP32", "data": data}]}


def write_models(folder: Path, count: int) -> list[str]:
    """So many models in a repository of one pool; gives their names."""
    folder.mkdir(parents=True)
    (folder / "pools.toml").write_text(f"[{POOL}]\n")
    names = [name_of(number) for number in range(count)]
    for name in names:
        _write(folder / name, name)
    return names


def _write(folder: Path, name: str) -> None:
    content = _graph()
    target = folder / "1"
    target.mkdir(parents=True)
    (target / "model.onnx").write_bytes(content)
    described = {
        "model": name,
        "version": "1",
        "files": [
            {
                "path": "model.onnx",
                "sha256": hashlib.sha256(content).hexdigest(),
                "size_bytes": len(content),
            }
        ],
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, FEATURES]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, FEATURES]}],
        "opset": {"": 21},
        "stacking": {"row_independent": True},
    }
    (target / "manifest.json").write_text(json.dumps(described))
    (folder / "model.toml").write_text(
        f'default_version = "1"\npool = "{POOL}"\n[batching]\nmax_batch_size = {ROWS_MAX}\n'
    )


@cache
def _graph() -> bytes:
    chance = np.random.default_rng(0)
    sizes = ((FEATURES, WIDTH), (WIDTH, WIDTH), (WIDTH, FEATURES))
    weights = [
        numpy_helper.from_array(chance.standard_normal(size, np.float32) / WIDTH, f"w{place}")
        for place, size in enumerate(sizes)
    ]
    places = ["x", "a", "b", "y"]
    nodes = [
        helper.make_node("MatMul", [places[place], f"w{place}"], [places[place + 1]])
        for place in range(len(sizes))
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", FEATURES])
        for name in ("x", "y")
    ]
    graph = helper.make_graph(nodes, "dense", ends[:1], ends[1:], weights)
    opset = helper.make_opsetid("", 21)
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    content: bytes = model.SerializeToString()
    return content
